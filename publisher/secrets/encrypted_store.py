"""The encrypted store of secrets: one file, sealed with a key that stands elsewhere."""

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
"""The key's file in `$CREDENTIALS_DIRECTORY`; without one it stands beside the store."""
PRIVATE_FILE_MODE = 0o600
MAX_READ_ATTEMPTS = 100
"""So often a reader begins again while others keep changing the store under its eyes."""

VaultFileVersion = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """The store of one workspace, in `folder`.

    Every secret is sealed together with its own name: one that was moved under another's name is refused. A key is a
    line; the first one seals, all of them open.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def list_names(self) -> Sequence[str]:
        """Name what is stored. Raises SecretError when the file is damaged."""
        return sorted(self._load_encrypted())

    def read(self, name: str) -> Mapping[str, str] | None:
        """Open a secret; None when there is none of this name. Raises SecretError.

        Nobody is waited for. Store and key are two files, so whoever falls between them in a rotation begins again.
        """
        for _ in range(MAX_READ_ATTEMPTS):
            marks = self._file_versions()
            try:
                return self._read(name)
            except SecretError:
                if self._file_versions() == marks:
                    raise
        return self._read(name)

    def _read(self, name: str) -> Mapping[str, str] | None:
        sealed = self._load_encrypted().get(name)
        return None if sealed is None else self._decrypt_secret(name, sealed, self._keys())

    def _file_versions(self) -> tuple[VaultFileVersion | None, ...]:
        return _file_version(self.file), _file_version(self._key_file)

    def write(self, name: str, fields: Mapping[str, str]) -> None:
        """Seal a secret, in place of an earlier one of that name. Raises SecretError."""
        with self._locked():
            keys = self._keys(creates_missing=True)
            self._save({**self._load_encrypted(), name: _encrypt(name, fields, self._make_cipher(keys))})

    def create_if_missing(self, name: str, make: Callable[[], Mapping[str, str]]) -> None:
        """Seal a new secret unless there is one of that name, whoever else tries as well. Raises SecretError."""
        with self._locked():
            if name not in self._load_encrypted():
                keys = self._keys(creates_missing=True)
                self._save({**self._load_encrypted(), name: _encrypt(name, make(), self._make_cipher(keys))})

    def remove(self, name: str) -> bool:
        """Forget a secret. Returns whether there was one."""
        with self._locked():
            sealed = dict(self._load_encrypted())
            is_known = sealed.pop(name, None) is not None
            self._save(sealed)
            return is_known

    def rotate(self) -> int:
        """Seal everything anew with a new key; a death in between leaves all of it readable. Returns how many.

        A key that the operator gives is theirs to change: put the new one in a line before the old one, and rotate.
        """
        from cryptography.fernet import Fernet  # noqa: PLC0415 # loading it costs every other command a moment

        with self._locked():
            keys = self._keys()
            opened = {name: self._decrypt_secret(name, token, keys) for name, token in self._load_encrypted().items()}
            if self._external_keys() is None:
                keys = (Fernet.generate_key().decode(), *keys)
                _write_private_file(self._key_file, "\n".join(keys))
            box = self._make_cipher(keys[:1])
            resealed = {name: _encrypt(name, fields, box) for name, fields in opened.items()}
            self._save(resealed)
            if self._external_keys() is None:
                _write_private_file(self._key_file, keys[0])
            return len(resealed)

    @property
    def file(self) -> Path:
        return self.folder / "vault.json"

    @property
    def _key_file(self) -> Path:
        return self.folder / KEY_NAME

    @property
    def key_source(self) -> str:
        """Say where the key comes from."""
        if KEY_VARIABLE in self.environment:
            return KEY_VARIABLE
        return str(self._credential_file or self._key_file)

    @property
    def _credential_file(self) -> Path | None:
        folder = self.environment.get("CREDENTIALS_DIRECTORY")
        file = Path(folder) / KEY_NAME if folder else None
        return file if file is not None and file.is_file() else None

    def _external_keys(self) -> str | None:
        """Give the key that the operator supplies, if any."""
        if (given := self.environment.get(KEY_VARIABLE)) is not None:
            return given
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

    def _decrypt_secret(self, name: str, sealed: str, keys: tuple[str, ...]) -> Mapping[str, str]:
        content = _decrypt(sealed, self._make_cipher(keys))
        if content is None:
            raise SecretError("vault_locked", name, (self.key_source,))
        if content["name"] != name:
            raise SecretError("vault_damaged", name, (str(self.file),))
        fields: Mapping[str, str] = content["fields"]
        return fields

    def _load_encrypted(self) -> Mapping[str, str]:
        mark = _file_version(self.file)
        return {} if mark is None else _parse_store_file(self.file, mark)

    def _save(self, sealed: Mapping[str, str]) -> None:
        _write_private_file(self.file, json.dumps(dict(sealed), indent=1))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the store."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "vault.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _file_version(file: Path) -> VaultFileVersion | None:
    """Tell one state of a file from all others; None when it is not there."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_text(file: Path, errors: str = "strict") -> str:
    try:
        return file.read_text("ascii", errors)
    except OSError:
        raise SecretError("vault_unreadable", "*", (str(file),)) from None


@lru_cache(maxsize=4)
def _parse_store_file(file: Path, _mark: VaultFileVersion) -> Mapping[str, str]:
    """Read the store once for each state of its file: every call of a burst asks for its own secret.

    What fails is not remembered: a file that cannot be opened now may be in a moment, as it is.
    """
    try:
        sealed = json.loads(_read_text(file))
    except ValueError:
        sealed = None
    if not isinstance(sealed, dict) or not all(isinstance(token, str) for token in sealed.values()):
        raise SecretError("vault_damaged", "*", (str(file),))
    return sealed


def _encrypt(name: str, fields: Mapping[str, str], box: "MultiFernet") -> str:
    return box.encrypt(json.dumps({"name": name, "fields": dict(fields)}, ensure_ascii=False).encode()).decode()


def _decrypt(sealed: str, box: "MultiFernet") -> dict[str, Any] | None:
    """Give the name and the fields; None when no key fits."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 # loading it costs every other command a moment

    try:
        content: dict[str, Any] = json.loads(box.decrypt(sealed.encode()))
    except InvalidToken:
        return None
    return content


def _write_private_file(file: Path, text: str) -> None:
    """Put a private file in place, whole or not at all, and on disk before anything else is done.

    Its time is later than that of the file it replaces, whatever the clock says: by it readers know it for another.
    """
    fresh = file.with_name(file.name + ".new")
    fresh.unlink(missing_ok=True)  # of a death before; it may be open to others, or a link
    with open(fresh, "x", encoding="ascii", opener=_open_private) as stream:
        stream.write(text)
        stream.flush()
        before = _file_version(file)
        at = os.fstat(stream.fileno()).st_mtime_ns
        os.utime(stream.fileno(), ns=(at, max(at, before[0] + 1 if before else at)))
        os.fsync(stream.fileno())
    fresh.replace(file)
    _sync(file.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE_MODE)
