"""Where secrets come from. They are read when needed, handed on, and never logged or shown."""

from publisher.vault.errors import SecretError
from publisher.vault.reading import hidden, parse_fields, place_outside, read_secret, variable_of
from publisher.vault.store import KEY_NAME, Vault

__all__ = ["KEY_NAME", "SecretError", "Vault", "hidden", "parse_fields", "place_outside", "read_secret", "variable_of"]
