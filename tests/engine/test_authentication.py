"""Passwords and second factors as the engine checks them."""

import asyncio
import re
import threading
from datetime import timedelta
from functools import partial

import pyotp
import pytest
from cryptography.fernet import Fernet, MultiFernet

from publisher.domain.errors import RefusedError, SignInError
from publisher.domain.user import SignInFactor, parse_grant
from publisher.engine import authentication
from publisher.engine.authentication import (
    TOTP_SECONDS,
    activate_user,
    change_password,
    check_code,
    check_password,
    hash_password,
    make_second_factor,
    verify_password,
)
from publisher.engine.decisions import named_person
from publisher.secrets import USER_KEY_NAME, SecretError
from publisher.store.people.attempts import FREE_CODES
from tests.caches import ARGON2, hash_cheaply

PASSWORD = "correct horse battery"
KEY = MultiFernet([Fernet(Fernet.generate_key())])
LI = named_person("li")


def load_key():
    return KEY


def no_key():
    raise SecretError("secret_missing", USER_KEY_NAME, ())


@pytest.fixture
async def users(open_store):
    """Return the users of a store: an administrator, `zhang`, without a second factor."""
    store = await open_store()
    link = await store.users.add("zhang", [parse_grant("admin")], LI)
    await activate_user(
        store.users, link, PASSWORD, by=named_person, load_user_key=load_key
    )
    return store.users


@pytest.fixture
async def second_factor(users):
    """Return the second factor of the user `wang`, with the present step's code used."""
    factor = make_second_factor("wang")
    link = await users.add("wang", [parse_grant("admin")], LI)
    code = pyotp.TOTP(factor.secret).at(users.runtime.now())
    activate = partial(
        activate_user, users, link, PASSWORD, by=named_person, second_factor=factor
    )
    with pytest.raises(RefusedError, match="code_wrong"):
        await activate(
            code="000000" if code != "000000" else "111111", load_user_key=load_key
        )
    await activate(code=code, load_user_key=load_key)
    return factor


@pytest.fixture
def product_parameters():
    hash_cheaply(ARGON2)
    yield
    hash_cheaply()


@pytest.mark.usefixtures("product_parameters")
async def test_a_password_is_stored_as_argon2id_with_a_salt_of_its_own():
    """The parameters are from OWASP: 19,456 KiB, two passes, one lane.

    Two hashes of one password differ. An unknown name costs the same.
    """
    one, other = await hash_password(PASSWORD), await hash_password(PASSWORD)
    assert all(
        re.match(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$", each)
        for each in (one, ARGON2[-1])
    )
    assert one != other
    assert await verify_password(PASSWORD, one)
    assert not await verify_password(f"{PASSWORD}.", one)


async def test_the_same_characters_are_the_same_password():
    """Full-width letters, as from a Chinese keyboard, are the ordinary ones.

    Nothing is cut off.
    """
    stored = await hash_password("ｃｏｒｒｅｃｔ horse battery")
    assert await verify_password(PASSWORD, stored)
    long = "长" * 200
    assert not await verify_password(long[:-1], await hash_password(long))


async def test_hashes_are_made_one_at_a_time_off_the_event_loop(monkeypatch):
    """One hash is made at a time, in another thread, for any number of sign-ins.

    The event loop goes on.
    """
    running, most, threads, turn = 0, 0, set(), threading.Semaphore(0)

    class SlowHasher:
        def hash(self, _password):
            nonlocal running, most
            running += 1
            most = max(most, running)
            threads.add(threading.current_thread())
            for _ in range(5):  # the loop goes on meanwhile, and would begin another
                assert turn.acquire(timeout=60)
            running -= 1
            return "hash"

    monkeypatch.setattr(authentication, "_hasher", SlowHasher)
    hashes = [asyncio.create_task(hash_password(PASSWORD)) for _ in range(5)]
    while not all(task.done() for task in hashes):
        turn.release()
        await asyncio.sleep(0)
    assert await asyncio.gather(*hashes) == ["hash"] * 5
    assert (most, len(threads), threading.current_thread() in threads) == (1, 1, False)


async def test_a_wrong_password_and_an_unknown_name_look_the_same(users, monkeypatch):
    """A wrong password and an unknown name fail with one code and both cost a hash.

    A wait comes after as many attempts, and is as long.
    """
    checked = []

    async def count(password, stored):
        checked.append(stored)
        return await verify_password(password, stored)

    monkeypatch.setattr(authentication, "verify_password", count)
    for name in ("zhang", "nobody"):
        with pytest.raises(SignInError) as caught:
            await check_password(users, name, "wrong password", "here")
        assert caught.value.code == "sign_in_failed"
    assert len(checked) == 2
    outcomes = {}
    for name in ("zhang", "nobody"):
        outcomes[name] = [
            await refuse(users, name, f"address of {name}") for _ in range(8)
        ]
    assert outcomes["zhang"] == outcomes["nobody"]
    assert outcomes["zhang"][-1] == ("sign_in_delayed", {"seconds": "2"})
    assert (await check_password(users, "zhang", PASSWORD, "here")).name == "zhang"


async def refuse(users, name, source):
    """Return the code and the facts of the error for a wrong password."""
    with pytest.raises(SignInError) as caught:
        await check_password(users, name, "wrong password", source)
    return caught.value.code, {
        key: value for key, value in caught.value.facts.items() if key != "name"
    }


async def test_a_disabled_user_cannot_sign_in(users):
    """The right password does not help a disabled user."""
    link = await users.add("wang", [parse_grant("admin")], LI)
    await activate_user(users, link, PASSWORD, by=named_person, load_user_key=no_key)
    await users.disable("wang", LI)
    with pytest.raises(SignInError, match="sign_in_failed"):
        await check_password(users, "wang", PASSWORD, "here")


async def test_a_code_counts_once_and_only_near_its_time(users, second_factor, runtime):
    """The code of this step or the one before is accepted, once.

    A code of a step to come, or a used one, is not.
    """
    totp = pyotp.TOTP(second_factor.secret)
    user = await check_password(users, "wang", PASSWORD, "here")
    outcomes = []
    # the first was used to set it up
    for passed, steps in (
        (0, 0),
        (0, 1),
        (2, 0),
        (0, 0),
        (2, -1),
        (2, -2),
    ):
        runtime.advance_time(passed * timedelta(seconds=TOTP_SECONDS))
        code = totp.at(int(runtime.now().timestamp()) + steps * TOTP_SECONDS)
        try:
            outcomes.append(
                (await check_code(users, user, code, "here", load_key)).method
            )
        except SignInError as error:
            outcomes.append(error.code)
    failed, used, right = "sign_in_failed", "code_used", "password, code"
    assert outcomes == [used, failed, right, used, right, failed]


async def test_a_code_that_was_used_is_no_attempt_of_somebody_else(
    users, second_factor, runtime
):
    """Its owner typed it twice: the next sign-in names no failed attempts."""
    user = await check_password(users, "wang", PASSWORD, "here")
    used = pyotp.TOTP(second_factor.secret).at(runtime.now())
    assert await try_code(users, user, used, "here") == "code_used"
    assert await users.attempts.take_failures("wang") is None
    assert await try_code(users, user, "000000", "here") == "sign_in_failed"
    assert (await users.attempts.take_failures("wang")).number == 1


async def try_code(users, user, code, source, session=""):
    """Return the outcome of a code."""
    try:
        return (
            await check_code(users, user, code, source, load_key, session=session)
        ).method
    except SignInError as error:
        return error.code


async def test_who_knows_the_password_cannot_guess_codes_freely(
    users, second_factor, runtime
):
    """Codes are counted for the user, so more sign-ins or more addresses do not help.

    The addresses may be of one /48 or of many.
    """
    codes = []
    for guess in range(FREE_CODES + 1):
        source = f"address 2001:db8:0:{guess:x}::/64"
        user = await check_password(users, "wang", PASSWORD, source)
        codes.append(await try_code(users, user, f"{guess:06}", source))
    assert codes == ["sign_in_failed"] * FREE_CODES + ["sign_in_delayed"]


async def test_a_recovery_code_lets_its_owner_in_while_somebody_guesses_codes(
    users, second_factor
):
    """The wait after wrong codes does not hold for recovery codes, as nobody can guess them.

    A new password ends the wait.
    """
    user = await check_password(users, "wang", PASSWORD, "there")
    guessed = [
        await try_code(users, user, f"{guess:06}", "there")
        for guess in range(FREE_CODES + 1)
    ]
    recovered = await try_code(users, user, second_factor.recovery_codes[0], "here")
    await change_password(users, user, "another horse battery", LI)
    user = await check_password(users, "wang", "another horse battery", "here")
    assert (guessed[-1], recovered) == ("sign_in_delayed", "recovery code")
    assert await try_code(users, user, "000000", "here") == "sign_in_failed"


async def test_who_has_stolen_a_session_does_not_delay_its_users_sign_in(
    users, second_factor, runtime
):
    """Codes in a session are counted for that session: its thief does not know the password."""
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    user = await users.get("wang")
    stolen = [
        await try_code(users, user, f"{guess:06}", "there", "stolen")
        for guess in range(FREE_CODES + 1)
    ]
    code = pyotp.TOTP(second_factor.secret).at(runtime.now())
    assert stolen == ["sign_in_failed"] * FREE_CODES + ["sign_in_delayed"]
    assert (
        await try_code(
            users, await check_password(users, "wang", PASSWORD, "here"), code, "here"
        )
        == "password, code"
    )


async def test_a_flood_of_wrong_passwords_delays_no_code(users, second_factor, runtime):
    """Without the password nobody can make its owner wait for a code.

    This holds for any number of attempts from any address.
    """
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    for number in range(FREE_CODES + 1):
        with pytest.raises(SignInError):
            await check_password(
                users, "wang", "wrong password", f"address 10.0.0.{number}"
            )
    code = pyotp.TOTP(second_factor.secret).at(runtime.now())
    assert (
        await try_code(
            users, await check_password(users, "wang", PASSWORD, "here"), code, "here"
        )
        == "password, code"
    )


@pytest.mark.parametrize("end", ["password", "reset", "disable", "disable and enable"])
async def test_a_password_that_waits_for_its_code_does_not_survive(
    users, second_factor, runtime, end
):
    """A password that waits for its code opens nothing once it is replaced.

    The same holds once the user is disabled or reset.
    """
    user = await check_password(users, "wang", PASSWORD, "there")
    match end:
        case "password":
            await change_password(users, user, "another horse battery", LI)
        case "reset":
            await users.reset("wang", LI)
        case _:
            await users.disable("wang", LI)
    if end == "disable and enable":
        await users.enable("wang", LI)
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    code = pyotp.TOTP(second_factor.secret).at(runtime.now())
    assert await try_code(users, user, code, "there") == "sign_in_ended"
    with pytest.raises(SignInError, match="sign_in_ended"):
        await change_password(users, user, "a third horse battery", LI)


async def test_without_the_key_a_recovery_code_signs_in(users, second_factor, runtime):
    """A missing key, or another one, is named; recovery codes need none."""
    user = await check_password(users, "wang", PASSWORD, "here")
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    code = pyotp.TOTP(second_factor.secret).at(runtime.now())
    other = MultiFernet([Fernet(Fernet.generate_key())])
    for load_user_key in (no_key, lambda: other):
        with pytest.raises(SignInError, match="second_factor_key_missing"):
            await check_code(users, user, code, "here", load_user_key)
    spoken = second_factor.recovery_codes[0].lower().replace("-", " ")
    assert (
        await check_code(users, user, spoken, "here", no_key)
    ).method == "recovery code"


async def test_codes_that_cannot_be_checked_are_no_wrong_ones(
    users, second_factor, runtime
):
    """Once the key is back nobody waits for having tried meanwhile."""
    user = await check_password(users, "wang", PASSWORD, "here")
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    code = pyotp.TOTP(second_factor.secret).at(runtime.now())
    for _ in range(FREE_CODES + 1):
        with pytest.raises(SignInError, match="second_factor_key_missing"):
            await check_code(users, user, code, "here", no_key)
    assert await try_code(users, user, code, "here") == "password, code"


async def test_a_second_factor_is_bound_to_its_user(users, second_factor):
    """A copy of an encrypted second factor in another row signs nobody in."""
    from sqlalchemy import select, update  # noqa: PLC0415 # what an attacker with the database would run

    from publisher.store.db.user_tables import AUTH_USER  # noqa: PLC0415 # same

    copied = (
        select(AUTH_USER.c.totp_secret)
        .where(AUTH_USER.c.name == "wang")
        .scalar_subquery()
    )
    change = (
        update(AUTH_USER)
        .where(AUTH_USER.c.name == "zhang")
        .values(totp_secret=copied, totp_step=0)
    )
    await users.database.write(
        lambda transaction: transaction.connection.execute(change)
    )
    user = await check_password(users, "zhang", PASSWORD, "here")
    code = pyotp.TOTP(second_factor.secret).at(users.runtime.now())
    with pytest.raises(SignInError, match="second_factor_key_missing"):
        await check_code(users, user, code, "here", load_key)


async def test_recovery_codes_are_random_enough_for_a_plain_hash(second_factor):
    """Each of the ten codes has 120 random bits in groups of four that can be read out."""
    assert len(set(second_factor.recovery_codes)) == 10
    assert all(
        re.fullmatch(r"([A-Z2-7]{4}-){5}[A-Z2-7]{4}", code)
        for code in second_factor.recovery_codes
    )


async def test_a_reset_password_still_takes_the_second_factor(
    users, second_factor, runtime
):
    """A reset link sets no password without the phone.

    With the phone its user sets one, and the phone stays.
    """
    link = await users.reset("wang", LI, {SignInFactor.PASSWORD})
    activate = partial(
        activate_user,
        users,
        link,
        f"{PASSWORD} new",
        by=named_person,
        load_user_key=load_key,
    )
    other = make_second_factor("wang")
    for chosen, code in (
        (None, ""),
        (other, pyotp.TOTP(other.secret).at(users.runtime.now())),
    ):
        with pytest.raises(SignInError, match="sign_in_failed"):
            await activate(
                second_factor=chosen, code=code, source=f"with {chosen is None}"
            )
    assert not (await users.get("wang")).has_password
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    await activate(code=pyotp.TOTP(second_factor.secret).at(users.runtime.now()))
    user = await check_password(users, "wang", f"{PASSWORD} new", "here")
    runtime.advance_time(timedelta(seconds=TOTP_SECONDS))
    code = pyotp.TOTP(second_factor.secret).at(users.runtime.now())
    assert (await check_code(users, user, code, "here", load_key)).user == user


async def test_a_reset_second_factor_still_takes_the_password(users, second_factor):
    """Until another second factor is set up, the password alone signs nobody in.

    The holder of the link needs the password.
    """
    link = await users.reset("wang", LI, {SignInFactor.SECOND_FACTOR})
    with pytest.raises(SignInError, match="second_factor_awaited"):
        await check_password(users, "wang", PASSWORD, "here")
    factor = make_second_factor("wang")
    code = pyotp.TOTP(factor.secret).at(users.runtime.now())
    activate = partial(
        activate_user, users, link, by=named_person, code=code, load_user_key=load_key
    )
    with pytest.raises(SignInError, match="sign_in_failed"):
        await activate("another password of the thief", second_factor=factor)
    with pytest.raises(RefusedError, match="second_factor_awaited"):
        await activate(PASSWORD)
    await activate(PASSWORD, second_factor=factor)
    assert (await check_password(users, "wang", PASSWORD, "here")).has_second_factor
    assert factor.secret != second_factor.secret
