from typing import Any

from allauth.account import forms as allauth_forms
from allauth.account.adapter import get_adapter
from allauth.account.forms import default_token_generator
from allauth.account.internal.flows.password_reset import request_password_reset
from allauth.account.models import EmailAddress
from django import forms
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from accounts.names import name_clean


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["display_name"]

    def clean_display_name(self) -> str:
        return name_clean(self.cleaned_data["display_name"], may_be_reserved=self.instance.is_staff)


class GuestForm(forms.Form):
    """How a guest wants to be called."""

    name = forms.CharField(label=_("Your name"), max_length=30)

    def clean_name(self) -> str:
        return name_clean(self.cleaned_data["name"])


class ResetPasswordForm(allauth_forms.ResetPasswordForm):
    """A new password is sent to confirmed addresses alone: anybody can write any other into an account of their own."""

    def clean_email(self) -> str:
        email = str(get_adapter().clean_email(self.cleaned_data["email"].lower()))
        confirmed = EmailAddress.objects.filter(email=email, verified=True, user__is_active=True)
        self.users = [address.user for address in confirmed.select_related("user")]
        return email

    def save(self, request: HttpRequest, **kwargs: Any) -> str:
        """The same work for an address that opens nothing: its mail is written to nobody."""
        if self.users:
            return str(super().save(request, **kwargs))
        stranger = User(pk=0, username="stranger", password=make_password(None))
        request_password_reset(request, "", [stranger], kwargs.get("token_generator", default_token_generator))
        return str(self.cleaned_data["email"])
