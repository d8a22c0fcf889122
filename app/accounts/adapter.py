from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.core import context as allauth_context
from allauth.core.exceptions import ReauthenticationRequired
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.contrib.auth.models import AnonymousUser
from django.contrib.sites.shortcuts import get_current_site
from django.core.mail import EmailMultiAlternatives
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.lockout import device_remember, login_tries_forget, login_try
from accounts.mail import mail_queue
from accounts.models import User
from accounts.names import name_clean
from accounts.openid import PROVIDER, is_fresh, is_only_way
from accounts.second_factor import second_factor_exists


class AccountAdapter(DefaultAccountAdapter):
    """allauth, with a short way from the first login of staff to their second factor, and calm without a mail relay."""

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        if request.user.is_staff and not second_factor_exists(request.user):
            return reverse("mfa_activate_totp")
        return str(super().get_login_redirect_url(request))

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        """Who has a second factor proves that one: a password alone must not show its recovery codes or remove it.

        The first is asked for: the key, of who has only recovery codes beside it.
        """
        methods: list[dict[str, Any]] = super().get_reauthentication_methods(user)
        factors = [method for method in methods if method["id"] != "reauthenticate"]
        if user.is_authenticated and not is_mfa_enabled(user, [Authenticator.Type.TOTP]):
            factors.reverse()
        methods = factors or methods
        if not methods and user.is_authenticated and is_only_way(user):
            way = reverse("openid_connect_login", args=[PROVIDER])
            methods = [{"id": "openid", "description": _("Log in there once more"), "url": way}]
        return methods

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """allauth asks nothing of who has an account elsewhere alone; we ask for a login there a short while ago."""
        request = allauth_context.request
        required = bool(super().is_reauthentication_required(app=app, **kwargs))
        if required and is_only_way(request.user) and not is_fresh(request, request.user):
            raise ReauthenticationRequired
        return required

    def clean_username(self, username: str, shallow: bool = False) -> str:
        return str(super().clean_username(name_clean(username), shallow=shallow))

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        self._login_failed_rl_usage = login_try(request, **credentials)  # which allauth rolls back when it was right
        if self._login_failed_rl_usage is None:
            raise self.validation_error("too_many_login_attempts")

    def _delete_login_attempts_cached_email(self, request: HttpRequest, **credentials: Any) -> None:
        login_tries_forget(request, **credentials)

    def post_login(self, request: HttpRequest, user: User, **options: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **options)
        device_remember(response, user)
        return response

    def send_confirmation_mail(self, request: HttpRequest, emailconfirmation: Any, signup: bool) -> None:
        """Ask to confirm, or tell the owner of an address that somebody tried it: who tries sees no difference."""
        address = emailconfirmation.email_address
        if address.can_set_verified():
            super().send_confirmation_mail(request, emailconfirmation, signup)
        else:
            self.send_account_already_exists_mail(address.email)

    def send_notification_mail(
        self, template_prefix: str, user: User, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """To a confirmed address of the user's, or to nobody: another one may be a stranger's."""
        confirmed = EmailAddress.objects.filter(user=user, verified=True).order_by("-primary", "pk")
        if email is not None:
            confirmed = confirmed.filter(email__iexact=email)
        address = confirmed.first()
        if address is not None:
            super().send_notification_mail(template_prefix, user, context, address.email)

    def send_farewell_mail(self, address: EmailAddress) -> None:
        """Tell a confirmed address that it was removed; only the primary one would hear of it otherwise."""
        if address.verified:
            context = {"deleted_email": address.email}
            super().send_notification_mail("account/email/email_deleted", address.user, context, address.email)

    def render_mail(
        self, template_prefix: str, email: str | list[str], context: dict[str, Any], headers: Any = None
    ) -> EmailMultiAlternatives:
        """The plain text and, made of it, the same as HTML, in which only addresses of this site are links.

        A mail repeats what strangers have sent: a browser's name may be an address of theirs.
        """
        message: EmailMultiAlternatives = super().render_mail(template_prefix, email, context, headers)
        request = context.get("request")
        own = f"{request.scheme}://{request.get_host()}/" if request else None
        paragraphs = [
            {"text": text, "is_link": own is not None and text.startswith(own) and not any(map(str.isspace, text))}
            for text in (part.strip() for part in message.body.split("\n\n"))
            if text
        ]
        about = {"subject": message.subject, "paragraphs": paragraphs}
        message.attach_alternative(render_to_string("account/email/mail.html", about), "text/html")
        return message

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Into the queue: registering must not fail for want of a relay, nor tell by its time who has an account."""
        request = allauth_context.request
        about = {"request": request, "email": email, "current_site": get_current_site(request)}
        mail_queue(self.render_mail(template_prefix, email, about | context))
