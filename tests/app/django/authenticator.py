"""An authenticator in software, which makes and uses passkeys as a phone does: https://www.w3.org/TR/webauthn-2/."""

import hashlib
import json
import secrets
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_encode

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


class SoftwareAuthenticator:
    """One key. `verifies`: it asks for a finger or a PIN; `origin` is that of the page which the browser shows."""

    def __init__(self, *, origin: str = "http://localhost", rp_id: str = "localhost", verifies: bool = True) -> None:
        self.origin, self.rp_id, self.verifies = origin, rp_id, verifies
        self.credential_id = secrets.token_bytes(16)
        self.user_handle = b""
        self._key = ec.generate_private_key(ec.SECP256R1())

    def create(self, options: Any) -> dict[str, Any]:
        """What navigator.credentials.create() gives for the page's options, as JSON."""
        public = options["publicKey"]
        self.user_handle = bytes(public["user"]["id"], "utf-8") if isinstance(public["user"]["id"], str) else b""
        length = struct.pack(">H", len(self.credential_id))
        cose = cbor.encode(ES256.from_cryptography_key(self._key.public_key()))
        data = self._data(ATTESTED) + bytes(16) + length + self.credential_id + cose
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", public["challenge"])
        response = {"clientDataJSON": websafe_encode(client), "attestationObject": websafe_encode(attestation)}
        return self._credential(response, {"credProps": {"rk": True}})

    def get(self, options: Any, *, user_handle: str = "") -> dict[str, Any]:
        """What navigator.credentials.get() gives; `user_handle` as the key kept it, in base64."""
        data = self._data(0)
        client = self._client("webauthn.get", options["publicKey"]["challenge"])
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": websafe_encode(client),
            "authenticatorData": websafe_encode(data),
            "signature": websafe_encode(signature),
            "userHandle": user_handle or None,
        }
        return self._credential(response, {})

    def _data(self, flags: int) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + struct.pack(">I", 1)

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin}).encode()

    def _credential(self, response: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
        key = websafe_encode(self.credential_id)
        return {"type": "public-key", "id": key, "rawId": key, "response": response, "clientExtensionResults": results}
