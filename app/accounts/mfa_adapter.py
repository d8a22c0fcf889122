import base64
from urllib.parse import urlsplit

from allauth.mfa.adapter import DefaultMFAAdapter
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac


class MFAAdapter(DefaultMFAAdapter):
    """allauth's second factors, encrypted in the database: a stolen dump does not open the admin.

    The key comes from SECRET_KEY; while that is being changed, the old one stays in SECRET_KEY_FALLBACKS.
    """

    def encrypt(self, text: str) -> str:
        return self._fernet().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return self._fernet().decrypt(encrypted_text.encode()).decode()

    def rotate(self, encrypted_text: str) -> str:
        """The same under the current key; what is already, or cannot be read, stays as it is."""
        try:
            self._fernets()[0].decrypt(encrypted_text.encode())
        except InvalidToken:
            try:
                return self._fernet().rotate(encrypted_text.encode()).decode()
            except InvalidToken:
                pass
        return encrypted_text

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Passkeys are for the site's name, by whatever other one it was reached."""
        return {"id": urlsplit(settings.MATCHPOINT_ORIGIN).hostname or "", "name": "Matchpoint"}

    def _fernet(self) -> MultiFernet:
        return MultiFernet(self._fernets())

    @staticmethod
    def _fernets() -> list[Fernet]:
        secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        digests = [salted_hmac("accounts.mfa", "key", secret=secret, algorithm="sha256").digest() for secret in secrets]
        return [Fernet(base64.urlsafe_b64encode(digest)) for digest in digests]
