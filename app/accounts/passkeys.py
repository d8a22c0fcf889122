"""Passkeys: allauth's forms, which here answer what no authenticator sends with a sentence, and tell of failures."""

import struct
from typing import Any, Final

from allauth.core import context
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from allauth.mfa.webauthn import forms as webauthn
from cryptography.exceptions import UnsupportedAlgorithm
from django import forms
from django.contrib.auth.signals import user_login_failed
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext_lazy as _

KEYS_MAX: Final = 10  # of an account
CREDENTIAL_MAX: Final = 16 * 1024  # characters of JSON; those of authenticators have about 1,500
NAME_MAX: Final = 40
_KIND: Final = Authenticator.Type.WEBAUTHN
# What parsers of JSON, base64, CBOR and COSE raise: everything in a credential is the visitor's
_UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    struct.error,
)


def _incorrect() -> ValidationError:
    error: ValidationError = get_adapter().validation_error("incorrect_code")
    return error


class _Credential(forms.JSONField):
    widget = forms.HiddenInput

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and len(value) > CREDENTIAL_MAX:
            raise _incorrect()
        try:
            found = super().to_python(value)
        except RecursionError:
            raise _incorrect() from None
        if found is not None and not isinstance(found, dict):
            raise _incorrect()
        return found

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Not shown again: nobody sends it twice, and it may be nothing that can be read."""
        return InvalidJSONInput()


class AddPasskeyForm(webauthn.AddWebAuthnForm):
    name = forms.CharField(label=_("Name of the key"), required=False, max_length=NAME_MAX)
    passwordless = forms.BooleanField(
        label=_("Log in with this key alone"),
        required=False,
        initial=True,
        help_text=_("It asks for your finger, your face or its PIN then. Otherwise it comes after the password."),
    )
    credential = _Credential()

    def clean(self) -> dict[str, Any]:
        if Authenticator.objects.filter(user=self.user, type=_KIND).count() >= KEYS_MAX:
            raise ValidationError(_("You have ten keys. Remove one that you do not use any more first."))
        try:
            cleaned: dict[str, Any] = super().clean()
        except _UNREADABLE:
            raise _incorrect() from None
        return cleaned


class EditPasskeyForm(webauthn.EditWebAuthnForm):
    name = forms.CharField(label=_("Name of the key"), max_length=NAME_MAX)


class _Proof(webauthn.AuthenticateWebAuthnForm):
    credential = _Credential()

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()
        except ValidationError as error:
            if error.code == "incorrect_code":  # and not that there were too many tries
                self.failed()
            raise
        except _UNREADABLE:
            self.failed()
            raise _incorrect() from None

    def failed(self) -> None:
        authentication_failed.send(
            sender=Authenticator,
            request=context.request,
            user=self.user,
            authenticator=Authenticator(user=self.user, type=_KIND),
            reauthentication=self.reauthenticated,
        )


class AuthenticatePasskeyForm(_Proof):
    """After the password."""


class ReauthenticatePasskeyForm(_Proof, webauthn.ReauthenticateWebAuthnForm):
    """Before a change of what opens the account."""


class LoginPasskeyForm(_Proof, webauthn.LoginWebAuthnForm):
    """Instead of name and password."""

    def failed(self) -> None:
        user_login_failed.send(sender=__name__, credentials={"way": "passkey"}, request=context.request)
