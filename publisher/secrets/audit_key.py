"""The key that signs what is written down of the audit outside the database: Ed25519, a secret of the workspace."""

import base64
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from publisher.secrets.encrypted_store import Vault
from publisher.secrets.errors import SecretError
from publisher.secrets.sources import read_secret

AUDIT_KEY_NAME = "audit-key"
"""The secret's name; its field `private` is 32 bytes in base64."""
PRIVATE_KEY_FIELD = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditKey:
    """A private key and the public one that auditors hold, both in base64."""

    private: str = field(repr=False)
    public: str

    def sign(self, text: str) -> str:
        """Sign a text; the signature is in base64."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 # it loads slowly

        key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.private))
        return base64.b64encode(key.sign(text.encode())).decode()


def load_audit_key(vault: Vault, secrets_dir: Path | None = None, *, creates_missing: bool = True) -> AuditKey | None:
    """Read the workspace's key from wherever its secrets are, and make one at the first use.

    Returns None where there is none and none is to be made. Raises SecretError.
    """
    try:
        fields = read_secret(AUDIT_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    except SecretError as error:
        if error.code != "secret_missing":
            raise
        if not creates_missing:
            return None
        vault.create_if_missing(AUDIT_KEY_NAME, _generate_key_fields)
        fields = read_secret(AUDIT_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    try:
        return AuditKey(private=fields[PRIVATE_KEY_FIELD], public=_derive_public_key(fields[PRIVATE_KEY_FIELD]))
    except (KeyError, ValueError):
        raise SecretError("audit_key_bad", AUDIT_KEY_NAME, (PRIVATE_KEY_FIELD,)) from None


def is_signed_by(text: str, signature: str, public_keys: Collection[str]) -> bool:
    """True if one of these public keys has signed that text."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 # it loads slowly
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 # same

    for public in public_keys:
        with suppress(InvalidSignature, ValueError):
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
            key.verify(base64.b64decode(signature, validate=True), text.encode("utf-8", "surrogatepass"))
            return True
    return False


def is_public_key(text: str) -> bool:
    """True for 32 bytes in base64."""
    with suppress(ValueError):
        return len(base64.b64decode(text, validate=True)) == 32
    return False


def _generate_key_fields() -> Mapping[str, str]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 # it loads slowly

    return {PRIVATE_KEY_FIELD: base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()}


def _derive_public_key(private: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 # it loads slowly

    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(private, validate=True))
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()
