"""The Ed25519 key that signs the audit's checkpoints outside the database; a secret of the workspace."""

import base64
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from publisher.secrets.encrypted_store import Vault
from publisher.secrets.errors import SecretError
from publisher.secrets.sources import read_secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

AUDIT_KEY_NAME = "audit-key"
"""The secret's name; its field `private` is 32 bytes in base64."""
PRIVATE_KEY_FIELD = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditKey:
    """A private key and its public key, which auditors hold; both in base64."""

    private: str = field(repr=False)
    public: str

    def sign(self, text: str) -> str:
        """Return the signature of a text, in base64."""
        return base64.b64encode(_parse_private_key(self.private).sign(text.encode())).decode()


def load_audit_key(vault: Vault, secrets_dir: Path | None = None, *, creates_missing: bool = True) -> AuditKey | None:
    """Read the workspace's key; create it at the first use.

    Returns None if there is none and `creates_missing` is False. Raises SecretError.
    """
    try:
        fields = read_secret(AUDIT_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    except SecretError as error:
        if error.code != "secret_missing":
            raise
        if not creates_missing:
            return None
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 # slow import

        private = base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
        vault.create_if_missing(AUDIT_KEY_NAME, lambda: {PRIVATE_KEY_FIELD: private})
        fields = read_secret(AUDIT_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    try:
        public = _parse_private_key(fields[PRIVATE_KEY_FIELD]).public_key().public_bytes_raw()
        return AuditKey(private=fields[PRIVATE_KEY_FIELD], public=base64.b64encode(public).decode())
    except (KeyError, ValueError):
        raise SecretError("audit_key_bad", AUDIT_KEY_NAME, (PRIVATE_KEY_FIELD,)) from None


def _parse_private_key(private: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 # slow import

    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(private, validate=True))


def is_signed_by(text: str, signature: str, public_keys: Collection[str]) -> bool:
    """True if one of these public keys has signed the text."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 # slow import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 # same

    for public in public_keys:
        with suppress(InvalidSignature, ValueError):
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
            key.verify(base64.b64decode(signature, validate=True), text.encode("utf-8", "surrogatepass"))
            return True
    return False


def is_public_key(text: str) -> bool:
    """True if the text is 32 bytes in base64."""
    with suppress(ValueError):
        return len(base64.b64decode(text, validate=True)) == 32
    return False
