"""Where secrets come from. They are read when needed, handed on, and never logged or shown."""

from publisher.vault.audit_key import AuditKey, audit_key, bears_signature, is_public_key
from publisher.vault.errors import SecretError
from publisher.vault.reading import hidden, parse_fields, place_outside, read_secret, variable_of
from publisher.vault.store import KEY_NAME, Vault

__all__ = [
    "KEY_NAME",
    "AuditKey",
    "SecretError",
    "Vault",
    "audit_key",
    "bears_signature",
    "hidden",
    "is_public_key",
    "parse_fields",
    "place_outside",
    "read_secret",
    "variable_of",
]
