"""Sources of secrets. Secrets are read when needed, and never logged or shown."""

from publisher.secrets.audit_key import AuditKey, is_public_key, is_signed_by, load_audit_key
from publisher.secrets.encrypted_store import KEY_NAME, Vault
from publisher.secrets.errors import SecretError
from publisher.secrets.sources import (
    find_external_source,
    list_secret_values,
    parse_fields,
    read_secret,
    secret_variable_name,
)

__all__ = [
    "KEY_NAME",
    "AuditKey",
    "SecretError",
    "Vault",
    "find_external_source",
    "is_public_key",
    "is_signed_by",
    "list_secret_values",
    "load_audit_key",
    "parse_fields",
    "read_secret",
    "secret_variable_name",
]
