"""Read a secret from its source: environment, systemd credentials, a folder, or the encrypted store."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from publisher.runtime.redaction import register_secrets
from publisher.secrets.encrypted_store import Vault
from publisher.secrets.errors import SecretError

PUBLIC_FIELDS = frozenset({"app_id", "app_key"})
"""Fields that are not secret, and that identify the account to people."""
_MAX_SECRET_BYTES = 64 * 1024
"""A platform's credentials have a few hundred bytes."""


def read_secret(
    name: str,
    *,
    secrets_dir: Path | None = None,
    vault: Vault | None = None,
    environment: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """Return a secret's fields from the first source that has it, and redact their values from now on.

    The sources are the environment, systemd's credentials, `secrets_dir`, and the encrypted store. Raises SecretError.
    """
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name):
        raise SecretError("bad_secret_name", name[:80], ())
    environment = os.environ if environment is None else environment
    variable = secret_variable_name(name)
    folders = (environment.get("CREDENTIALS_DIRECTORY"), secrets_dir)
    paths = [Path(folder) / name for folder in folders if folder]
    fields: Mapping[str, str] | None = None
    if (value := environment.get(variable)) is not None:
        fields = _parse_or_raise(value, name, variable)
    elif (path := next((path for path in paths if path.is_file()), None)) is not None:
        status = path.stat()
        fields = _read_file(path, name, (status.st_mtime_ns, status.st_size, status.st_ino))
    elif vault is not None:
        fields = vault.read(name)
    if fields is None:
        places = (*map(str, paths), *([str(vault.file)] if vault else []))
        raise SecretError("secret_missing", name, (variable, *places))
    register_secrets(list_secret_values(fields))
    return fields


def list_secret_values(fields: Mapping[str, str]) -> Sequence[str]:
    """Return the values that must be redacted."""
    return [value for field, value in fields.items() if field not in PUBLIC_FIELDS and not field.endswith("_at")]


def find_external_source(
    name: str, *, secrets_dir: Path | None = None, environment: Mapping[str, str] | None = None
) -> str | None:
    """Return the variable or file that holds a secret outside the encrypted store, and so has priority; else None."""
    environment = os.environ if environment is None else environment
    if secret_variable_name(name) in environment:
        return secret_variable_name(name)
    folders = (environment.get("CREDENTIALS_DIRECTORY"), secrets_dir)
    return next((str(path) for folder in folders if folder and (path := Path(folder) / name).is_file()), None)


def secret_variable_name(name: str) -> str:
    """Return the name of a secret's environment variable."""
    return "PUBLISHER_SECRET_" + name.upper().replace("-", "_")


@lru_cache(maxsize=1024)
def _read_file(path: Path, name: str, _version: tuple[int, ...]) -> Mapping[str, str]:
    """Read a secret file, cached by version: every call of a burst reads its own secret."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_SECRET_BYTES + 1)
    except OSError:
        raise SecretError("secret_unreadable", name, (str(path),)) from None
    if len(raw) > _MAX_SECRET_BYTES:
        raise SecretError("secret_unreadable", name, (str(path),))
    return _parse_or_raise(raw.decode("utf-8-sig", errors="replace"), name, str(path))


def _parse_or_raise(text: str, name: str, place: str) -> Mapping[str, str]:
    fields = parse_fields(text)
    if fields is None:
        raise SecretError("secret_not_json", name, (place,))
    return fields


def parse_fields(text: str) -> Mapping[str, str] | None:
    """Parse a JSON object of texts; None if it is none. The parser's error contains the content, so it is dropped."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not value:
        return None
    if not all(isinstance(item, str | int) and not isinstance(item, bool) and item != "" for item in value.values()):
        return None
    return {key: str(item) for key, item in value.items()}
