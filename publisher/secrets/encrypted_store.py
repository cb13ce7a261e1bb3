"""The encrypted store of secrets: one file, encrypted with a key that is stored elsewhere."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from publisher.secrets.errors import SecretError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

KEY_VARIABLE = "PUBLISHER_VAULT_KEY"
KEY_NAME = "vault-key"
"""The name of the key file in `$CREDENTIALS_DIRECTORY`; by default it lies beside the store."""
PRIVATE_FILE_MODE = 0o600
MAX_READ_ATTEMPTS = 100
"""How often a reader retries while other processes change the store."""

VaultFileVersion = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """The store of one workspace, in `folder`.

    Every secret is encrypted together with its name: one that was moved to another name is rejected. The key file has
    one key per line; the first one encrypts, all of them decrypt.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def list_names(self) -> Sequence[str]:
        """Return the names of all secrets. Raises SecretError if the file is damaged."""
        return sorted(self._load_encrypted())

    def read(self, name: str) -> Mapping[str, str] | None:
        """Decrypt a secret; None if there is none of this name. Raises SecretError.

        A read takes no lock. Store and key are two files, so a read that overlaps a rotation is retried.
        """
        attempts = 0
        while True:
            versions = _file_version(self.file), _file_version(self._key_file)
            try:
                encrypted = self._load_encrypted().get(name)
                return None if encrypted is None else self._decrypt_secret(name, encrypted, self._keys())
            except SecretError:
                attempts += 1
                is_unchanged = versions == (_file_version(self.file), _file_version(self._key_file))
                if is_unchanged or attempts > MAX_READ_ATTEMPTS:
                    raise

    def write(self, name: str, fields: Mapping[str, str]) -> None:
        """Encrypt and store a secret, replacing one of the same name. Raises SecretError."""
        with self._locked():
            self._add(name, fields)

    def create_if_missing(self, name: str, make: Callable[[], Mapping[str, str]]) -> None:
        """Encrypt and store a new secret unless there is one of that name; safe across processes.

        Raises SecretError.
        """
        with self._locked():
            if name not in self._load_encrypted():
                self._add(name, make())

    def _add(self, name: str, fields: Mapping[str, str]) -> None:
        cipher = self._make_cipher(self._keys(creates_missing=True))
        self._save({**self._load_encrypted(), name: _encrypt(name, fields, cipher)})

    def remove(self, name: str) -> bool:
        """Remove a secret. Return True if it existed."""
        with self._locked():
            encrypted = dict(self._load_encrypted())
            is_known = encrypted.pop(name, None) is not None
            self._save(encrypted)
            return is_known

    def rotate(self) -> int:
        """Encrypt all secrets with a new key and return their number. A crash in between leaves all of them readable.

        A key supplied by the operator is theirs to change: they put the new one on a line before the old, then rotate.
        """
        from cryptography.fernet import Fernet  # noqa: PLC0415 # loading it costs every other command a moment

        with self._locked():
            keys = self._keys()
            decrypted = {
                name: self._decrypt_secret(name, token, keys) for name, token in self._load_encrypted().items()
            }
            if self._external_keys() is None:
                keys = (Fernet.generate_key().decode(), *keys)
                _write_private_file(self._key_file, "\n".join(keys))
            cipher = self._make_cipher(keys[:1])
            self._save({name: _encrypt(name, fields, cipher) for name, fields in decrypted.items()})
            if self._external_keys() is None:
                _write_private_file(self._key_file, keys[0])
            return len(decrypted)

    @property
    def file(self) -> Path:
        return self.folder / "vault.json"

    @property
    def _key_file(self) -> Path:
        return self.folder / KEY_NAME

    @property
    def key_source(self) -> str:
        """The variable or file that the key comes from."""
        if KEY_VARIABLE in self.environment:
            return KEY_VARIABLE
        return str(self._credential_file or self._key_file)

    @property
    def _credential_file(self) -> Path | None:
        folder = self.environment.get("CREDENTIALS_DIRECTORY")
        file = Path(folder) / KEY_NAME if folder else None
        return file if file is not None and file.is_file() else None

    def _external_keys(self) -> str | None:
        """Return the keys that the operator supplies, or None."""
        if (supplied := self.environment.get(KEY_VARIABLE)) is not None:
            return supplied
        return _read_text(self._credential_file, "replace") if self._credential_file else None

    def _keys(self, *, creates_missing: bool = False) -> tuple[str, ...]:
        text = self._external_keys()
        if text is None and self._key_file.is_file():
            text = _read_text(self._key_file, "replace")
        if text is None and creates_missing and not self._load_encrypted():
            from cryptography.fernet import Fernet  # noqa: PLC0415 # as above

            text = Fernet.generate_key().decode()
            _write_private_file(self._key_file, text)
        keys = tuple(filter(None, map(str.strip, (text or "").splitlines())))
        if not keys:
            raise SecretError("vault_key_missing", "*", (KEY_VARIABLE, str(self._key_file)))
        return keys

    def _make_cipher(self, keys: tuple[str, ...]) -> "MultiFernet":
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 # as above

        try:
            return MultiFernet([Fernet(key) for key in keys])
        except ValueError:
            raise SecretError("vault_key_bad", "*", (self.key_source,)) from None

    def _decrypt_secret(self, name: str, encrypted: str, keys: tuple[str, ...]) -> Mapping[str, str]:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 # as above

        try:
            content: dict[str, Any] = json.loads(self._make_cipher(keys).decrypt(encrypted.encode()))
        except InvalidToken:
            raise SecretError("vault_locked", name, (self.key_source,)) from None
        if content["name"] != name:
            raise SecretError("vault_damaged", name, (str(self.file),))
        fields: Mapping[str, str] = content["fields"]
        return fields

    def _load_encrypted(self) -> Mapping[str, str]:
        version = _file_version(self.file)
        return {} if version is None else _parse_store_file(self.file, version)

    def _save(self, encrypted: Mapping[str, str]) -> None:
        _write_private_file(self.file, json.dumps(dict(encrypted), indent=1))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the store: one process at a time may change it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "vault.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _file_version(file: Path) -> VaultFileVersion | None:
    """Return a value that differs for every state of a file; None if it does not exist."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_text(file: Path, errors: str = "strict") -> str:
    try:
        return file.read_text("ascii", errors)
    except OSError:
        raise SecretError("vault_unreadable", "*", (str(file),)) from None


@lru_cache(maxsize=4)
def _parse_store_file(file: Path, _version: VaultFileVersion) -> Mapping[str, str]:
    """Parse the store, cached by version: every call of a burst reads its own secret.

    Failures are not cached: a file that cannot be opened now may be readable in a moment, unchanged.
    """
    try:
        encrypted = json.loads(_read_text(file))
    except ValueError:
        encrypted = None
    if not isinstance(encrypted, dict) or not all(isinstance(token, str) for token in encrypted.values()):
        raise SecretError("vault_damaged", "*", (str(file),))
    return encrypted


def _encrypt(name: str, fields: Mapping[str, str], cipher: "MultiFernet") -> str:
    return cipher.encrypt(json.dumps({"name": name, "fields": dict(fields)}, ensure_ascii=False).encode()).decode()


def _write_private_file(file: Path, text: str) -> None:
    """Replace a private file atomically, and sync it to disk before returning.

    Its modification time is later than that of the file it replaces, whatever the clock says, so that the version
    always changes.
    """
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)  # left by a crash; it may be readable by others, or a link
    with open(new, "x", encoding="ascii", opener=lambda path, flags: os.open(path, flags, PRIVATE_FILE_MODE)) as stream:
        stream.write(text)
        stream.flush()
        replaced = _file_version(file)
        at = os.fstat(stream.fileno()).st_mtime_ns
        os.utime(stream.fileno(), ns=(at, max(at, replaced[0] + 1 if replaced else at)))
        os.fsync(stream.fileno())
    new.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
