"""Passwords, second factors and recovery codes: how a user proves their identity and sets it up."""

import asyncio
import base64
import hmac
import re
import secrets
import unicodedata
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from publisher.config import Settings
from publisher.domain.delivery import Actor
from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.password import (
    MAX_PASSWORD_CHARACTERS,
    MIN_PASSWORD_CHARACTERS,
    is_guessable,
)
from publisher.domain.user import Principal, RefusalKind, User
from publisher.secrets import SecretError
from publisher.store.people.users import LINK_METHOD, NewSignIn, SignInProofs, Users

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet
    from pwdlib.hashers.argon2 import Argon2Hasher

ARGON2_MEMORY_KIB, ARGON2_PASSES, ARGON2_LANES = 19_456, 2, 1
"""First choice of OWASP's Password Storage Cheat Sheet for argon2id: 19 MiB, 30 ms a hash."""
HASH_OF_NOTHING = (
    "$argon2id$v=19$m=19456,t=2,p=1$GRNNa1RxqpCxKlwQkXxDsQ"
    "$Grn1Z8fsFnBxFnOZBmtAqr0Q5gpMPMJVwCN9g991blc"
)
"""Checked for an unknown user, so that the answer takes as long as for a known one."""
TOTP_SECONDS, MAX_TOTP_DIGITS = 30, 6
MAX_CODE_CHARACTERS = 64
"""More than a recovery code has, however it is typed."""
TOTP_STEPS_BEHIND = 1
"""A code of the step before is accepted, as RFC 6238 (5.2) recommends: typing takes time.

A code of a step to come is not accepted.
"""
RECOVERY_CODES, RECOVERY_CODE_BYTES = 10, 15
"""How many recovery codes there are, and how random each is.

From 112 bits on a plain hash of a code is safe to store.
"""
ISSUER = "publisher"
MAX_AGENCY_WORD_CHARACTERS = 40
"""A longer word in the settings of a region is no name."""
LoadUserKey = Callable[[], "MultiFernet"]

_hash_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="password")
"""One hash at a time.

A flood of sign-ins must not take the memory and the processors that posts need.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondFactor:
    """A new second factor, before a code of it was typed. An authenticator app reads `uri`."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)
    recovery_codes: Sequence[str] = field(repr=False)


async def check_password(  # noqa: PLR0913 # who says so, and from where
    users: Users,
    name: str,
    password: str,
    source: str,
    *,
    counted_as: str = "",
    completes_reset: bool = False,
) -> User:
    """Return the user of this password. A user with a second factor must then pass `check_code`.

    `source` is where the attempt comes from. Failures are counted for it, or for `counted_as`.
    Raises SignInError with one of three codes. `sign_in_failed` is for a wrong name or password and
    for a user that is not enabled. `sign_in_delayed` is for too many failures.
    `second_factor_awaited` is for a user that must first set up another one with a one-time link,
    unless that is being done.
    """
    counted_as = counted_as or source
    _require_turn(users, await users.attempts.start(name, counted_as))
    proofs = await users.read_proofs(name)
    stored = proofs.password_hash if proofs is not None else None
    is_right = await verify_password(password, stored or HASH_OF_NOTHING)
    if proofs is None or stored is None or not is_right or not proofs.user.is_enabled:
        await users.attempts.note_refusal(RefusalKind.PASSWORD, name, source)
        raise SignInError("sign_in_failed", name=name)
    await users.attempts.end(name, counted_as)
    if proofs.user.awaits_second_factor and not completes_reset:
        raise SignInError("second_factor_awaited", name=name)
    return proofs.user


async def check_code(  # noqa: PLR0913 # what a code is checked with
    users: Users,
    user: User,
    code: str,
    source: str,
    load_user_key: LoadUserKey,
    *,
    session: str = "",
) -> Principal:
    """Check a code of the second factor or a recovery code, after the password. It is used up.

    In a `session`, named by the hash of its id, wrong codes are counted for that session, else for
    the user. A recovery code cannot be guessed, so it is free of these counts. It lets its owner in
    while somebody guesses codes.

    Raises SignInError as `check_password` does. `code_used` is for a code that was right before: it
    counts as no failed attempt. `sign_in_ended` means that the password was replaced
    or the user disabled since it was typed. `second_factor_key_missing` means that codes cannot be
    checked, but a recovery code can.
    """
    proofs = await users.read_proofs(user.name)
    if proofs is None or proofs.user.epoch != user.epoch or not proofs.user.is_enabled:
        raise SignInError("sign_in_ended", name=user.name)
    typed = _normalize_code(code)
    if is_recovery := len(typed) > MAX_TOTP_DIGITS:
        _require_turn(
            users, await users.attempts.start(user.name, f"{source} recovery")
        )
        is_right, method = (
            await users.use_recovery_code(user.name, typed),
            "recovery code",
        )
    else:
        # first: where codes cannot be checked, none is wrong
        secret = _open_totp_secret(proofs, load_user_key)
        _require_turn(users, await users.attempts.start_code(user.name, session))
        is_right, method = (
            await _use_totp_code(users, user.name, secret, typed),
            "password, code",
        )
    if not is_right:
        await users.attempts.note_refusal(RefusalKind.CODE, user.name, source)
        raise SignInError("sign_in_failed", name=user.name)
    if is_recovery:
        await users.attempts.end(user.name, f"{source} recovery")
    else:
        await users.attempts.end_code(user.name, session)
    return Principal(user=user, method=method)


def _require_turn(users: Users, until: datetime | None) -> None:
    """Raise SignInError, with the seconds to wait, if the next attempt may only follow later."""
    if until is not None:
        seconds = (until - users.runtime.now()).total_seconds()
        raise SignInError("sign_in_delayed", seconds=str(int(seconds) + 1))


def _open_totp_secret(proofs: SignInProofs, load_user_key: LoadUserKey) -> str | None:
    """Return a user's second factor, None without one.

    Raises SignInError as `decrypt_totp_secret` does.
    """
    sealed = proofs.totp_secret
    return (
        None
        if sealed is None
        else decrypt_totp_secret(sealed, proofs.user.name, load_user_key)
    )


async def _use_totp_code(
    users: Users, name: str, secret: str | None, code: str
) -> bool:
    """Return True if a code is right. Raise SignInError if its time step was used before."""
    step = (
        None
        if secret is None
        else find_totp_step(secret, code, users.runtime.now().timestamp())
    )
    if step is None:
        return False
    if not await users.use_totp_step(name, step):
        raise SignInError("code_used", name=name)
    return True


def find_totp_step(secret: str, code: str, at: float) -> int | None:
    """Return the time step of a code near an instant; None for a wrong code.

    The instant is in seconds since 1970.
    """
    import pyotp  # noqa: PLC0415 # only needed with a second factor

    typed = _encode(_normalize_code(code))
    totp, now = pyotp.TOTP(secret, interval=TOTP_SECONDS), int(at) // TOTP_SECONDS
    steps = range(now - TOTP_STEPS_BEHIND, now + 1)
    return next(
        (
            step
            for step in steps
            if hmac.compare_digest(totp.generate_otp(step).encode(), typed)
        ),
        None,
    )


def make_second_factor(name: str) -> SecondFactor:
    """Return a new second factor for a user, with recovery codes."""
    import pyotp  # noqa: PLC0415 # as above

    secret = pyotp.random_base32()
    uri = pyotp.TOTP(secret, interval=TOTP_SECONDS).provisioning_uri(
        name=name, issuer_name=ISSUER
    )
    codes = [
        base64.b32encode(secrets.token_bytes(RECOVERY_CODE_BYTES)).decode()
        for _ in range(RECOVERY_CODES)
    ]
    return SecondFactor(
        secret=secret,
        uri=uri,
        recovery_codes=["-".join(re.findall("....", code)) for code in codes],
    )


def read_link(text: str) -> str:
    """Return the secret of a pasted one-time link, given whole or without the address before it."""
    return re.split(r"[/#]", text.strip().rstrip("/"))[-1]


def _normalize_code(code: str) -> str:
    """Return a code for comparison: in capitals, without spaces and dashes.

    Full-width characters become ordinary ones. Nothing beyond the longest code is looked at.
    """
    folded = unicodedata.normalize("NFKC", code[:MAX_CODE_CHARACTERS])
    return "".join(folded.split()).replace("-", "").upper()


async def activate_user(  # noqa: PLR0913 # what a sign-in is made of
    users: Users,
    link: str,
    password: str,
    *,
    by: Callable[[str], Actor],
    second_factor: SecondFactor | None = None,
    code: str = "",
    load_user_key: LoadUserKey,
    source: str = LINK_METHOD,
    words: Collection[str] = (),
) -> User:
    """Use up a one-time link, and store the new password and a second factor proved by a code.

    The code proves that the second factor is set up. A factor that a reset has left must be proved
    instead: the password, or a code of the second factor. The failures of such a code are counted
    for `source`. `words` are the names of the agency, from `list_agency_words`: guessers know them.

    Raises RefusedError: `link_invalid`, `password_too_short`, `password_too_long`,
    `password_guessable`, `code_wrong`, `second_factor_awaited`. Raises SignInError as
    `check_password` does.
    """
    if (user := await users.find_link(link)) is None:
        raise RefusedError("link_invalid")
    sign_in = NewSignIn()
    if user.has_password:
        await check_password(users, user.name, password, source, completes_reset=True)
    else:
        require_good_password(password, [user.name, *words])
        sign_in = NewSignIn(password_hash=await hash_password(password))
    if user.has_second_factor:
        await check_code(users, user, code, source, load_user_key)
    elif second_factor is None and user.awaits_second_factor:
        raise RefusedError("second_factor_awaited", name=user.name)
    elif second_factor is not None:
        step = find_totp_step(
            second_factor.secret, code, users.runtime.now().timestamp()
        )
        if step is None:
            raise RefusedError("code_wrong")
        sign_in = replace(
            sign_in,
            totp_secret=encrypt_totp_secret(
                second_factor.secret, user.name, load_user_key
            ),
            totp_step=step,
            recovery_codes=[
                _normalize_code(each) for each in second_factor.recovery_codes
            ],
        )
    return await users.activate(link, sign_in, by)


async def change_password(
    users: Users, user: User, password: str, by: Actor, words: Collection[str] = ()
) -> None:
    """Replace the password of a user with a correct old one.

    Raises RefusedError as `activate_user` does for one that is not good enough. Raises SignInError,
    `sign_in_ended`, if somebody has reset or disabled the user since.
    """
    require_good_password(password, [user.name, *words])
    await users.change_password(user, await hash_password(password), by)


def list_agency_words(settings: Settings) -> Collection[str]:
    """Return the words of the agency that a guesser knows: accounts, regions with names, host."""
    accounts = settings.accounts.values()
    of_accounts = (
        word
        for account in accounts
        for word in (account.id, account.identity, account.platform)
    )
    of_regions = (
        word for region in settings.regions.values() for word in region.values()
    )
    host = urlsplit(settings.dashboard.url or "").hostname or ""
    words = {*of_accounts, *of_regions, *settings.groups, host}
    return frozenset(
        word for word in words if word and len(word) <= MAX_AGENCY_WORD_CHARACTERS
    )


def require_good_password(password: str, words: Collection[str]) -> None:
    """Raise RefusedError for a password that is too short, too long, or easily guessed.

    `words` are the words that a guesser knows of its user: the name, and the names of the agency.
    """
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise RefusedError("password_too_long", most=str(MAX_PASSWORD_CHARACTERS))
    normalized = unicodedata.normalize("NFKC", password)
    if len(normalized) < MIN_PASSWORD_CHARACTERS:
        raise RefusedError("password_too_short", least=str(MIN_PASSWORD_CHARACTERS))
    if is_guessable(normalized, words):
        raise RefusedError("password_guessable")


async def hash_password(password: str) -> str:
    """Return the argon2id hash of a password; hashes are made one at a time, off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(
        _hash_thread, _hasher().hash, _encode(password)
    )


async def verify_password(password: str, stored: str) -> bool:
    """Return True if a hash is of this password; as `hash_password`."""
    typed = _encode(password[: MAX_PASSWORD_CHARACTERS + 1])
    return await asyncio.get_running_loop().run_in_executor(
        _hash_thread, _hasher().verify, typed, stored
    )


@cache
def _hasher() -> "Argon2Hasher":
    from pwdlib.hashers.argon2 import Argon2Hasher  # noqa: PLC0415 # only needed for passwords

    return Argon2Hasher(
        time_cost=ARGON2_PASSES, memory_cost=ARGON2_MEMORY_KIB, parallelism=ARGON2_LANES
    )


def _encode(text: str) -> bytes:
    """Return the bytes to hash and compare, also of input that is no UTF-8.

    Such input may come from a terminal of another encoding.
    """
    return unicodedata.normalize("NFKC", text).encode("utf-8", "surrogatepass")


def encrypt_totp_secret(secret: str, name: str, load_user_key: LoadUserKey) -> str:
    """Encrypt a second factor together with its user's name: it is worth nothing in another row."""
    return load_user_key().encrypt(f"{name}\0{secret}".encode()).decode()


def decrypt_totp_secret(encrypted: str, name: str, load_user_key: LoadUserKey) -> str:
    """Return a second factor. Raises SignInError if the key is missing or is another one."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415 # slow import

    try:
        owner, _, secret = (
            load_user_key().decrypt(encrypted.encode()).decode().partition("\0")
        )
    except (InvalidToken, SecretError):
        raise SignInError("second_factor_key_missing", name=name) from None
    if owner != name:
        raise SignInError("second_factor_key_missing", name=name)
    return secret
