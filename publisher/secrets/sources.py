"""Reading a secret from wherever the operator keeps it."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from publisher.runtime.redaction import register_secrets
from publisher.secrets.encrypted_store import Vault
from publisher.secrets.errors import SecretError

PUBLIC_FIELDS = frozenset({"app_id", "app_key"})
"""Fields that every caller of the platform may see, and that name the account to people."""
_MAX_SECRET_BYTES = 64 * 1024
"""In bytes; a platform's credentials are a few hundred."""


def read_secret(
    name: str,
    *,
    secrets_dir: Path | None = None,
    vault: Vault | None = None,
    environment: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """Give a secret's fields, from the first place that has it; from now on they are struck out everywhere.

    These are the environment, systemd's credentials, `secrets_dir`, and the encrypted store.

    Raises SecretError.
    """
    fields = _find_fields(name, secrets_dir, vault, os.environ if environment is None else environment)
    register_secrets(list_secret_values(fields))
    return fields


def list_secret_values(fields: Mapping[str, str]) -> Sequence[str]:
    """Give the values that nobody may see."""
    return [value for field, value in fields.items() if field not in PUBLIC_FIELDS and not field.endswith("_at")]


def _find_fields(
    name: str, secrets_dir: Path | None, vault: Vault | None, environment: Mapping[str, str]
) -> Mapping[str, str]:
    if not name or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name):
        raise SecretError("bad_secret_name", name[:80], ())
    variable = secret_variable_name(name)
    if (value := environment.get(variable)) is not None:
        return _parse_or_raise(value, name, variable)
    paths = [Path(folder) / name for folder in (environment.get("CREDENTIALS_DIRECTORY"), secrets_dir) if folder]
    for path in paths:
        if path.is_file():
            found = path.stat()
            return _read_file(path, name, (found.st_mtime_ns, found.st_size, found.st_ino))
    if vault is not None and (fields := vault.read(name)) is not None:
        return fields
    places = (*map(str, paths), *([str(vault.file)] if vault else []))
    raise SecretError("secret_missing", name, (variable, *places))


def find_external_source(
    name: str, *, secrets_dir: Path | None = None, environment: Mapping[str, str] | None = None
) -> str | None:
    """Say where a secret stands outside the encrypted store, if it does; it is used from there before all else."""
    environment = os.environ if environment is None else environment
    if secret_variable_name(name) in environment:
        return secret_variable_name(name)
    folders = [Path(folder) for folder in (environment.get("CREDENTIALS_DIRECTORY"), secrets_dir) if folder]
    return next((str(path) for folder in folders if (path := folder / name).is_file()), None)


def secret_variable_name(name: str) -> str:
    """Name the environment variable of a secret."""
    return "PUBLISHER_SECRET_" + name.upper().replace("-", "_")


@lru_cache(maxsize=1024)
def _read_file(path: Path, name: str, _mark: tuple[int, ...]) -> Mapping[str, str]:
    """Read a secret once for each state of its file: every call of a burst asks for its own."""
    return _parse_or_raise(_read_text(path, name), name, str(path))


def _read_text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_SECRET_BYTES + 1)
    except OSError:
        raw = None
    text = None if raw is None or len(raw) > _MAX_SECRET_BYTES else raw.decode("utf-8-sig", errors="replace")
    if text is None:
        raise SecretError("secret_unreadable", name, (str(path),))
    return text


def _parse_or_raise(text: str, name: str, place: str) -> Mapping[str, str]:
    fields = parse_fields(text)
    if fields is None:
        raise SecretError("secret_not_json", name, (place,))
    return fields


def parse_fields(text: str) -> Mapping[str, str] | None:
    """Read a JSON object of texts. The parser's own error would carry the content along, so it ends here."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not value:
        return None
    if not all(isinstance(item, str | int) and not isinstance(item, bool) and item != "" for item in value.values()):
        return None
    return {key: str(item) for key, item in value.items()}
