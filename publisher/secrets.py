"""Secrets: read when needed, never logged or shown.

They come from environment, systemd, a folder or the encrypted store.
"""

import base64
import hmac
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from publisher.domain.errors import PublisherError
from publisher.runtime.file_locks import hold_lock
from publisher.runtime.files import replace_contents
from publisher.runtime.logs import log
from publisher.runtime.redaction import register_secrets

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_VARIABLE = "PUBLISHER_VAULT_KEY"
VARIABLE_PREFIX = "PUBLISHER_SECRET_"
"""Begins the names of environment variables that hold secrets."""
KEY_NAME = "vault-key"
"""The name of the key file in `$CREDENTIALS_DIRECTORY`; by default it lies beside the store."""
_public_fields: dict[str, frozenset[str]] = {}
"""Fields that are not secret, and that identify the account to people."""
MAX_SECRET_BYTES = 64 * 1024
"""A platform's credentials have a few hundred bytes."""
AUDIT_KEY_NAME = "audit-key"
"""The name of the secret with the audit's key; its field `private` is 32 bytes in base64."""
PRIVATE_KEY_FIELD = "private"
USER_KEY_NAME = "user-key"
"""The name of the secret that encrypts the users' second factors."""
USER_KEY_FIELD = "key"
"""Its field: one Fernet key, or several with spaces between them.

The first one encrypts.
"""
TEMPORARY_ERRORS = frozenset({"secret_unreadable", "vault_unreadable"})
"""Errors of the source, not of the secret: it may be readable at the next try."""

FIELDS_MISSING = "secret_fields_missing"  # a reason
"""The secret lacks a field that its platform needs; it may be another platform's."""

SecretErrorCode = Literal[
    "secret_missing", "secret_unreadable", "secret_not_json", "bad_secret_name", "audit_key_bad",
    "user_key_bad", "vault_key_missing", "vault_key_bad", "vault_locked", "vault_damaged",
    "vault_unreadable", "secret_without_url",
]  # fmt: skip


class SecretError(PublisherError):
    """A secret is unavailable.

    `code` is the reason, `places` are the sources tried. The content is never included.
    """

    def __init__(
        self, code: SecretErrorCode, name: str, places: tuple[str, ...]
    ) -> None:
        super().__init__(f"{code} {name}: {', '.join(places)}")
        self.code = code
        self.name = name
        self.places = places

    @property
    def facts(self) -> Mapping[str, str]:
        return {"name": self.name, "places": ", ".join(self.places)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """The encrypted store of one workspace, in `folder`.

    Every secret is encrypted together with its name: one that was moved to another name is
    rejected. The key file has one key per line; the first one encrypts, all of them decrypt.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def list_names(self) -> Sequence[str]:
        """Return the names of all secrets. Raises SecretError if the file is damaged."""
        return sorted(self._load_tokens())

    def read(self, name: str) -> Mapping[str, str] | None:
        """Decrypt a secret; None if there is none of this name. Raises SecretError.

        A read takes no lock. A rotation that ends between the reads of store and key has changed
        the store: read again.
        """
        while True:
            tokens = self._load_tokens()
            try:
                return (
                    None
                    if name not in tokens
                    else self._decrypt(
                        name, tokens[name], self._make_cipher(self._keys())
                    )
                )
            except SecretError:
                if self._load_tokens() == tokens:
                    raise

    def write(self, name: str, fields: Mapping[str, str]) -> None:
        """Encrypt and store a secret, replacing one of the same name. Raises SecretError."""
        with self._locked():
            self._add(name, fields)

    def create_if_missing(self, name: str, fields: Mapping[str, str]) -> None:
        """Encrypt and store a new secret unless there is one of that name; safe across processes.

        Raises SecretError.
        """
        with self._locked():
            if name not in self._load_tokens():
                self._add(name, fields)

    def remove(self, name: str) -> bool:
        """Remove a secret. Return True if it existed."""
        with self._locked():
            tokens = dict(self._load_tokens())
            is_known = tokens.pop(name, None) is not None
            self._save(tokens)
            return is_known

    def rotate(self) -> int:
        """Encrypt all secrets with a new key and return their number.

        A crash in between leaves all of them readable. A key supplied by the operator is theirs to
        change: they put the new one on a line before the old, then rotate.
        """
        from cryptography.fernet import Fernet  # noqa: PLC0415 # loading it costs every other command a moment

        with self._locked():
            is_own_key = self.key_source == str(self._own_key_file)
            keys = [*([Fernet.generate_key()] if is_own_key else []), *self._keys()]
            old, new = self._make_cipher(keys), self._make_cipher(keys[:1])
            tokens = {
                name: _encrypt(name, self._decrypt(name, token, old), new)
                for name, token in self._load_tokens().items()
            }
            if is_own_key:
                replace_contents(self._own_key_file, b"\n".join(keys))
            self._save(tokens)
            if is_own_key:
                replace_contents(self._own_key_file, keys[0])
            return len(tokens)

    @property
    def file(self) -> Path:
        return self.folder / "vault.json"

    @property
    def key_source(self) -> str:
        """The variable or file that the key comes from."""
        folder = self.environment.get("CREDENTIALS_DIRECTORY")
        if KEY_VARIABLE in self.environment:
            return KEY_VARIABLE
        if folder and (credential := Path(folder) / KEY_NAME).is_file():
            return str(credential)
        return str(self._own_key_file)

    @property
    def _own_key_file(self) -> Path:
        return self.folder / KEY_NAME

    def _keys(self) -> list[bytes]:
        supplied = self.environment.get(KEY_VARIABLE)
        content = (
            os.fsencode(supplied)
            if supplied is not None
            else _read_store_file(Path(self.key_source))
        )
        if not (
            keys := [
                line.strip() for line in (content or b"").splitlines() if line.strip()
            ]
        ):
            raise SecretError(
                "vault_key_missing", "*", (KEY_VARIABLE, str(self._own_key_file))
            )
        return keys

    def _make_cipher(self, keys: Sequence[bytes]) -> "MultiFernet":
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 # as above

        try:
            # of bytes it would skip foreign ones
            return MultiFernet([Fernet(key.decode("ascii")) for key in keys])
        except ValueError:
            raise SecretError("vault_key_bad", "*", (self.key_source,)) from None

    def _decrypt(
        self, name: str, token: str, cipher: "MultiFernet"
    ) -> Mapping[str, str]:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 # as above

        try:
            content: dict[str, Any] = json.loads(cipher.decrypt(token.encode()))
        except InvalidToken:
            raise SecretError("vault_locked", name, (self.key_source,)) from None
        if content["name"] != name:
            raise SecretError("vault_damaged", name, (str(self.file),))
        fields: Mapping[str, str] = content["fields"]
        return fields

    def _load_tokens(self) -> Mapping[str, str]:
        """Return the encrypted secrets by name.

        A damaged file is never overwritten: every change loads it first.
        """
        content = _read_store_file(self.file)
        if (tokens := {} if content is None else _parse_tokens(content)) is None:
            raise SecretError("vault_damaged", "*", (str(self.file),))
        return tokens

    def _add(self, name: str, fields: Mapping[str, str]) -> None:
        from cryptography.fernet import Fernet  # noqa: PLC0415 # as above

        tokens = self._load_tokens()
        if (
            not tokens
            and self.key_source == str(self._own_key_file)
            and not self._own_key_file.is_file()
        ):
            replace_contents(self._own_key_file, Fernet.generate_key())
        self._save(
            {**tokens, name: _encrypt(name, fields, self._make_cipher(self._keys()))}
        )

    def _save(self, tokens: Mapping[str, str]) -> None:
        replace_contents(self.file, json.dumps(tokens, indent=1).encode("ascii"))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the store: one process at a time may change it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(self.folder / "vault.lock"):
            yield


def open_vault(workspace: Path) -> Vault:
    """Return a workspace's encrypted store."""
    return Vault(folder=workspace / "var")


def _read_store_file(file: Path) -> bytes | None:
    """Return the content of the store or the key file; None if it does not exist."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        raise SecretError("vault_unreadable", "*", (str(file),)) from None


@lru_cache(maxsize=4)
def _parse_tokens(content: bytes) -> Mapping[str, str] | None:
    """Parse the store, or return None if it is damaged.

    The result is cached, as every call of a burst reads its own secret.
    """
    try:
        tokens = json.loads(content.decode("ascii"))
    except ValueError:
        return None
    is_store = isinstance(tokens, dict) and all(
        isinstance(token, str) for token in tokens.values()
    )
    return tokens if is_store else None


def _encrypt(name: str, fields: Mapping[str, str], cipher: "MultiFernet") -> str:
    return cipher.encrypt(
        json.dumps({"name": name, "fields": dict(fields)}, ensure_ascii=False).encode()
    ).decode()


def read_secret(
    name: str,
    *,
    secrets_dir: Path | None = None,
    vault: Vault | None = None,
    environment: Mapping[str, str] | None = None,
) -> Mapping[str, str]:
    """Return a secret's fields from its first source, and redact their values from now on.

    The sources are the environment, systemd's credentials, `secrets_dir`, and the encrypted store.
    Raises SecretError.
    """
    if not name or not all(
        letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name
    ):
        raise SecretError("bad_secret_name", name[:80], ())
    environment = os.environ if environment is None else environment
    variable = secret_variable_name(name)
    source = find_external_source(
        name, secrets_dir=secrets_dir, environment=environment
    )
    if source is not None:
        text = (
            environment[variable]
            if source == variable
            else _read_secret_file(Path(source), name)
        )
        fields = parse_fields(text)
        if fields is None:
            raise SecretError("secret_not_json", name, (source,))
    else:
        stored = vault.read(name) if vault is not None else None
        if stored is None:
            folders = (environment.get("CREDENTIALS_DIRECTORY"), secrets_dir)
            places = (
                variable,
                *(str(Path(folder) / name) for folder in folders if folder),
            )
            raise SecretError(
                "secret_missing", name, (*places, *([str(vault.file)] if vault else []))
            )
        fields = stored
    register_secrets(
        list_secret_values(fields, _public_fields.get(name, frozenset())), holder=name
    )
    return fields


@dataclass(slots=True, kw_only=True)
class LoginSecret:
    """A login's credentials, read from their source by each `read`.

    The log names `account` when that fails first.
    """

    name: str
    account: str
    secrets_dir: Path | None
    vault: Vault
    needed_fields: Collection[str] = ()
    """The fields without which the platform cannot be signed in to."""
    _last_read: Mapping[str, str] = field(default_factory=dict, repr=False)
    _last_error: str = ""

    @contextmanager
    def held(self) -> Iterator[Mapping[str, str]]:
        """Read the credentials once; this task's later reads return them until the end.

        They are returned even if they were replaced. Raises SecretError as `read` does.
        """
        fields, before = self.read(), _held_secret.get()
        held = self, fields
        _held_secret.set(held)
        try:
            yield fields
        finally:
            # of a dropped task this ends in another context, where nothing of it is held
            if _held_secret.get() is held:
                _held_secret.set(before)

    def read(self) -> Mapping[str, str]:
        """Return the credentials; without any the adapter reports that it cannot sign in.

        Without credentials they are empty. While the source is temporarily unreadable, this returns
        the last ones read. Raises SecretError if none were read yet.
        """
        if (held := _held_secret.get()) is not None and held[0] is self:
            return held[1]
        try:
            self._last_read = read_secret(
                self.name, secrets_dir=self.secrets_dir, vault=self.vault
            )
        except SecretError as error:
            if error.code != self._last_error:
                self._last_error = error.code
                log.error("secret_unreadable", account=self.account, code=error.code)
            if error.code not in TEMPORARY_ERRORS:
                return {}
            if not self._last_read:
                raise
        else:
            self._last_error = ""
        return self._last_read

    def find_problem(self) -> str | None:
        """Return the code of what makes the credentials useless; None if nothing does.

        Raises SecretError as `read` does.
        """
        fields = self.read()
        if not fields:
            return self._last_error
        has_all = all(fields.get(name) for name in self.needed_fields)
        return None if has_all else FIELDS_MISSING


_held_secret: ContextVar[tuple[LoginSecret, Mapping[str, str]] | None] = ContextVar(
    "held_secret", default=None
)
"""The credentials that the present task uses throughout, and their login."""


def find_external_source(
    name: str,
    *,
    secrets_dir: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str | None:
    """Return the variable or file that holds a secret outside the encrypted store, else None.

    It has priority.
    """
    environment = os.environ if environment is None else environment
    if (variable := secret_variable_name(name)) in environment:
        return variable
    folders = (environment.get("CREDENTIALS_DIRECTORY"), secrets_dir)
    return next(
        (
            str(path)
            for folder in folders
            if folder and (path := Path(folder) / name).is_file()
        ),
        None,
    )


def make_dashboard_environment(
    environment: Mapping[str, str], *, secrets_dir: Path | None, vault: Vault
) -> dict[str, str]:
    """Return an environment that leads to no secret, and holds the key of second factors alone.

    The key is created here: the dashboard, without the key of the encrypted store, would begin a
    second store.
    """
    hidden = {KEY_VARIABLE, "CREDENTIALS_DIRECTORY"}
    kept = {
        name: text
        for name, text in environment.items()
        if name not in hidden and not name.startswith(VARIABLE_PREFIX)
    }
    try:
        load_user_key(vault, secrets_dir, creates_missing=True)
        fields = read_secret(USER_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    except (SecretError, OSError) as error:
        log.warning("user_key_unavailable", error=type(error).__name__)
        return kept
    return {**kept, secret_variable_name(USER_KEY_NAME): json.dumps(dict(fields))}


def secret_variable_name(name: str) -> str:
    """Return the name of a secret's environment variable."""
    return VARIABLE_PREFIX + name.upper().replace("-", "_")


def declare_public_fields(name: str, fields: Collection[str]) -> None:
    """Do not redact these fields of a secret, such as an app's id, when it is read."""
    _public_fields[name] = frozenset(fields)


def list_secret_values(
    fields: Mapping[str, str], public_fields: Collection[str] = ()
) -> Sequence[str]:
    """Return the values that must be redacted."""
    return [
        value
        for field, value in fields.items()
        if field not in public_fields and not field.endswith("_at")
    ]


def hash_fields(fields: Mapping[str, str], key: bytes) -> str:
    """Return the keyed hash of a secret: it shows whether two are the same, and nothing else."""
    canonical = json.dumps(dict(fields), sort_keys=True).encode()
    return hmac.digest(key, canonical, "sha256").hex()


def _read_secret_file(path: Path, name: str) -> str:
    with suppress(OSError):
        # each call of a burst reads its own secret
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.read(descriptor, MAX_SECRET_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(raw) <= MAX_SECRET_BYTES:
            return raw.decode("utf-8-sig", errors="replace")
    raise SecretError("secret_unreadable", name, (str(path),))


def parse_fields(text: str) -> Mapping[str, str] | None:
    """Parse a JSON object of texts; None if it is none.

    The parser's error contains the content, so it is dropped.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not value:
        return None
    if not all(
        isinstance(item, str | int) and not isinstance(item, bool) and item != ""
        for item in value.values()
    ):
        return None
    return {key: str(item) for key, item in value.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditKey:
    """The Ed25519 key that signs the audit's checkpoints.

    It is private, and public for auditors; both are in base64.
    """

    private: str = field(repr=False)
    public: str

    def sign(self, text: str) -> str:
        """Return the signature of a text, in base64."""
        return base64.b64encode(
            _parse_private_key(self.private).sign(text.encode())
        ).decode()


def load_audit_key(
    vault: Vault, secrets_dir: Path | None = None, *, creates_missing: bool = True
) -> AuditKey | None:
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

        private = base64.b64encode(
            Ed25519PrivateKey.generate().private_bytes_raw()
        ).decode()
        vault.create_if_missing(AUDIT_KEY_NAME, {PRIVATE_KEY_FIELD: private})
        fields = read_secret(AUDIT_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    try:
        public = (
            _parse_private_key(fields[PRIVATE_KEY_FIELD])
            .public_key()
            .public_bytes_raw()
        )
        return AuditKey(
            private=fields[PRIVATE_KEY_FIELD], public=base64.b64encode(public).decode()
        )
    except (KeyError, ValueError):
        raise SecretError(
            "audit_key_bad", AUDIT_KEY_NAME, (PRIVATE_KEY_FIELD,)
        ) from None


def load_user_key(
    vault: Vault, secrets_dir: Path | None = None, *, creates_missing: bool = False
) -> "MultiFernet":
    """Return the cipher of the users' second factors.

    Create its key in the encrypted store if that is asked for.

    Raises SecretError.
    """
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 # slow import

    try:
        fields = read_secret(USER_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    except SecretError as error:
        if error.code != "secret_missing" or not creates_missing:
            raise
        vault.create_if_missing(
            USER_KEY_NAME, {USER_KEY_FIELD: Fernet.generate_key().decode()}
        )
        fields = read_secret(USER_KEY_NAME, secrets_dir=secrets_dir, vault=vault)
    try:
        return MultiFernet([Fernet(key) for key in fields[USER_KEY_FIELD].split()])
    except (KeyError, ValueError):
        raise SecretError("user_key_bad", USER_KEY_NAME, (USER_KEY_FIELD,)) from None


def _parse_private_key(private: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 # slow import

    return Ed25519PrivateKey.from_private_bytes(
        base64.b64decode(private, validate=True)
    )


def is_signed_by(text: str, signature: str, public_keys: Collection[str]) -> bool:
    """True if one of these public keys has signed the text."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 # slow import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 # same

    for public in public_keys:
        with suppress(InvalidSignature, ValueError):
            key = Ed25519PublicKey.from_public_bytes(
                base64.b64decode(public, validate=True)
            )
            key.verify(
                base64.b64decode(signature, validate=True),
                text.encode("utf-8", "surrogatepass"),
            )
            return True
    return False


def is_public_key(text: str) -> bool:
    """True if the text is 32 bytes in base64."""
    with suppress(ValueError):
        return len(base64.b64decode(text, validate=True)) == 32
    return False
