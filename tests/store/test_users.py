"""Users, links, sessions, tokens and the rate limit of sign-ins, on both databases."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from publisher.domain.errors import NoSuchItemError, RefusedError, SignInError
from publisher.domain.user import (
    Permission,
    RefusalKind,
    SignInFactor,
    UserChange,
    UserChangeKind,
    UserState,
    parse_grant,
    permissions_of,
)
from publisher.engine.decisions import named_person
from publisher.store.db.user_tables import (
    AUTH_SESSION,
    AUTH_TOKEN,
    AUTH_USER,
    RECOVERY_CODE,
    SIGN_IN_ATTEMPT,
)
from publisher.store.people import attempts
from publisher.store.people.attempts import (
    ALERT_OF_KIND,
    REFUSAL_WINDOW,
    REFUSALS_BEFORE_ALERT,
)
from publisher.store.people.sign_ins import (
    MAX_LINK_REFUSALS,
    SESSION_IDLE_LIFETIME,
    SESSION_LIFETIME,
    STEP_UP_LIFETIME,
    TOKEN_IDLE_LIFETIME,
    TOKEN_LIFETIME,
)
from publisher.store.people.user_changes import ADMIN_COUNTED_FOR, REQUEST_LIFETIME
from publisher.store.people.users import LINK_LIFETIME, NewSignIn, suspend_all

LI = named_person("li")
ADMIN, AUTHOR = (parse_grant("admin"),), (parse_grant("author@bj-weibo"),)
SIGN_IN = NewSignIn(
    password_hash="hash",
    totp_secret="sealed",
    totp_step=7,
    recovery_codes=["aaaa", "bbbb"],
)
SECOND = timedelta(seconds=1)


async def add_active(store, name, grants=AUTHOR):
    link = await store.users.add(name, grants, LI)
    return await store.users.activate(link, SIGN_IN, named_person)


async def test_the_first_user_is_an_administrator(open_store):
    """Without an administrator nobody could add the next one; a limited one is not enough."""
    store = await open_store()
    assert not await store.users.exist()
    for grants in (AUTHOR, (parse_grant("admin@bj-weibo"),)):
        with pytest.raises(RefusedError, match="first_user_admin"):
            await store.users.add("zhang", grants, LI)
    await store.users.add("zhang", ADMIN, LI)
    assert await store.users.exist()


@pytest.mark.parametrize("other", ["zhang", "Zhang", "zhаng", "zh ang"])
async def test_no_two_users_look_alike(open_store, other):
    """A name that differs only in case, width, spaces or look-alike letters is refused."""
    store = await open_store()
    await store.users.add("zhang", ADMIN, LI)
    with pytest.raises(RefusedError, match="user_exists"):
        await store.users.add(other, AUTHOR, LI)


async def test_a_link_is_used_once_within_a_day(open_store, runtime):
    """The link stores a password once; used, expired, replaced or unknown it is refused."""
    store = await open_store()
    first = await store.users.add("zhang", ADMIN, LI)
    second = await store.users.reset("zhang", LI)
    with pytest.raises(RefusedError, match="link_invalid"):
        await store.users.activate(first, SIGN_IN, named_person)
    assert (await store.users.activate(second, SIGN_IN, named_person)).has_password
    with pytest.raises(RefusedError, match="link_invalid"):
        await store.users.activate(second, SIGN_IN, named_person)
    third = await store.users.reset("zhang", LI)
    assert (await store.users.find_link(third)).name == "zhang"
    runtime.advance_time(LINK_LIFETIME)
    assert await store.users.find_link(third) is None
    with pytest.raises(RefusedError, match="link_invalid"):
        await store.users.activate(third, SIGN_IN, named_person)


async def test_only_hashes_are_stored(open_store):
    """No link, token, session id or recovery code is in the database."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    link = await store.users.add("wang", AUTHOR, LI)
    token = await store.sign_ins.issue_token("zhang", [Permission.STOP], LI)
    session = await store.sign_ins.start_session("zhang", "127.0.0.1", LI)

    def read(connection):
        tables = (AUTH_USER, AUTH_TOKEN, AUTH_SESSION, RECOVERY_CODE)
        return [
            str(tuple(row))
            for table in tables
            for row in connection.execute(table.select())
        ]

    rows = await store.database.read(read)
    assert len(rows) == 6
    assert [
        row for row in rows for text in (link, token, session, "aaaa") if text in row
    ] == []


async def test_the_last_administrator_stays(open_store):
    """Disabling, leaving and losing the role are refused for the last active administrator only."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    await store.users.add("wang", ADMIN, LI)  # has no password yet
    for change in (
        store.users.disable("zhang", LI),
        store.users.leave("zhang", [], LI),
        store.users.change_grants("zhang", AUTHOR, LI),
    ):
        with pytest.raises(RefusedError, match="last_admin"):
            await change
    assert (await store.users.get("zhang")).is_active_admin
    await store.users.activate(
        await store.users.reset("wang", LI), SIGN_IN, named_person
    )
    await store.users.disable("zhang", LI)
    assert (await store.users.get("zhang")).state is UserState.DISABLED


async def test_of_two_administrators_who_disable_each_other_one_stays(open_store):
    """Two changes at the same moment cannot both succeed."""
    one, other = await open_store(), await open_store(worker="worker-2")
    await add_active(one, "zhang", ADMIN)
    await add_active(one, "wang", ADMIN)
    results = await asyncio.gather(
        one.users.disable("zhang", LI),
        other.users.disable("wang", LI),
        return_exceptions=True,
    )
    assert [type(result) for result in results if result is not None] == [RefusedError]
    assert sum(user.is_active_admin for user in await one.users.list()) == 1


@pytest.mark.parametrize("end", ["disable", "leave", "reset", "suspend"])
async def test_ending_a_user_ends_sessions_tokens_and_links_at_once(open_store, end):
    """A user's sign-ins end with the commit; another user's stay, unless all are suspended."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    await add_active(store, "wang")
    signed_in = {}
    for name in ("zhang", "wang"):
        token = await store.sign_ins.issue_token(name, [Permission.STOP], LI)
        signed_in[name] = (await store.sign_ins.start_session(name, "here", LI), token)
        assert await store.sign_ins.count_valid(name) == (1, 1)
    match end:
        case "disable":
            await store.users.disable("wang", LI)
        case "leave":
            await store.users.leave("wang", ["key"], LI)
        case "reset":
            await store.users.reset("wang", LI)
        case _:
            await store.database.write(
                lambda transaction: suspend_all(
                    transaction.connection, store.runtime.now()
                )
            )
    session, token = signed_in["wang"]
    assert await store.sign_ins.find_session(session) is None
    assert await store.sign_ins.find_token(token) is None
    assert await store.sign_ins.count_valid("wang") == (0, 0)
    session, token = signed_in["zhang"]
    assert (await store.sign_ins.find_session(session) is None) is (end == "suspend")
    assert (await store.sign_ins.find_token(token) is None) is (end == "suspend")


async def test_a_suspended_user_signs_in_again_once_enabled(open_store):
    """Enabling keeps the password; a departed user is added again instead."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    await add_active(store, "wang")
    await store.users.leave("wang", [], LI)
    await store.database.write(
        lambda transaction: suspend_all(transaction.connection, store.runtime.now())
    )
    assert [user.state for user in await store.users.list()] == [
        UserState.LEFT,
        UserState.SUSPENDED,
    ]
    await store.users.enable("zhang", LI)
    user = await store.users.get("zhang")
    assert (user.is_enabled, user.has_password) == (True, True)
    changes = (store.users.enable, store.users.reset, store.users.disable)
    for change in [operation("wang", LI) for operation in changes]:
        with pytest.raises(RefusedError, match="user_has_left"):
            await change
    await store.users.add("wang", ADMIN, LI)
    back = await store.users.get("wang")
    assert (back.is_enabled, back.has_password, back.has_second_factor) == (
        True,
        False,
        False,
    )


async def test_a_session_ends_unused_and_at_its_end(open_store, runtime):
    """Use prolongs a session, but not beyond its absolute lifetime."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    idle = await store.sign_ins.start_session("zhang", "here", LI)
    runtime.advance_time(SESSION_IDLE_LIFETIME)
    assert await store.sign_ins.find_session(idle) is None
    used = await store.sign_ins.start_session("zhang", "here", LI)
    for _ in range(SESSION_LIFETIME // (SESSION_IDLE_LIFETIME - SECOND)):
        runtime.advance_time(SESSION_IDLE_LIFETIME - SECOND)
        assert await store.sign_ins.find_session(used) is not None
    runtime.advance_time(SESSION_IDLE_LIFETIME - SECOND)
    assert await store.sign_ins.find_session(used) is None


async def test_step_up_gives_a_new_id_for_ten_minutes(open_store, runtime):
    """After a step-up the old id is void, and the new one counts as stepped up for a while."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    before = await store.sign_ins.start_session("zhang", "here", LI)
    assert not (await store.sign_ins.find_session(before)).is_stepped_up
    after = await store.sign_ins.step_up(before, LI)
    assert await store.sign_ins.find_session(before) is None
    assert (await store.sign_ins.find_session(after)).is_stepped_up
    runtime.advance_time(STEP_UP_LIFETIME)
    assert not (await store.sign_ins.find_session(after)).is_stepped_up
    with pytest.raises(NoSuchItemError):
        await store.sign_ins.step_up(before, LI)
    runtime.advance_time(SESSION_IDLE_LIFETIME)
    # it was not used for too long, and a step-up does not bring it back
    with pytest.raises(NoSuchItemError):
        await store.sign_ins.step_up(after, LI)
    assert await store.sign_ins.end_session(after, LI)
    assert not await store.sign_ins.end_session(after, LI)


async def test_a_token_has_its_scope_and_two_lifetimes(open_store, runtime):
    """A token ends 90 days after issue or 30 days without use, and is limited to its scope."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    token = await store.sign_ins.issue_token("zhang", [Permission.STOP], LI)
    principal = await store.sign_ins.find_token(token)
    assert (principal.user.name, principal.scope) == ("zhang", {Permission.STOP})
    for _ in range(TOKEN_LIFETIME // TOKEN_IDLE_LIFETIME):
        runtime.advance_time(TOKEN_IDLE_LIFETIME - SECOND)
        assert await store.sign_ins.find_token(token) is not None
    runtime.advance_time(timedelta(minutes=1))
    assert await store.sign_ins.find_token(token) is None
    unused = await store.sign_ins.issue_token("zhang", [Permission.STOP], LI)
    runtime.advance_time(TOKEN_IDLE_LIFETIME)
    assert await store.sign_ins.find_token(unused) is None
    assert await store.sign_ins.find_token("publisher-unknown") is None


async def test_recovery_codes_and_steps_are_used_once(open_store):
    """A recovery code works once; a time step only if it is later than the last one used."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    assert [
        await store.users.use_recovery_code("zhang", code)
        for code in ("aaaa", "aaaa", "cccc")
    ] == [
        True,
        False,
        False,
    ]
    assert [
        await store.users.use_totp_step("zhang", step) for step in (7, 8, 8, 6, 9)
    ] == [
        False,
        True,
        False,
        False,
        True,
    ]


async def test_guessing_is_slowed_for_its_source_alone(open_store, runtime):
    """Failures make their source wait ever longer, up to a bound; other sources are free."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    waits = []
    for _ in range(14):
        until = await store.users.attempts.start("zhang", "guesser")
        wait = timedelta(0) if until is None else until - runtime.now()
        waits.append(wait)
        runtime.advance_time(wait)
        if until is not None:
            assert await store.users.attempts.start("zhang", "guesser") is None
    assert waits[:3] == [timedelta(0)] * 3
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(minutes=5)
    assert await store.users.attempts.start("zhang", "elsewhere") is None
    await store.users.attempts.end("zhang", "elsewhere")
    runtime.advance_time(timedelta(days=1, seconds=1))
    assert await store.users.attempts.start("zhang", "guesser") is None


async def test_guessing_names_is_slowed_too(open_store, runtime):
    """From one source so many names may be tried freely, then it waits a minute at most."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    free = 0
    while await store.users.attempts.start(f"name-{free}", "guesser") is None:
        free += 1
    assert free == 20
    assert await store.users.attempts.start("zhang", "guesser") is not None
    runtime.advance_time(timedelta(minutes=1))
    assert await store.users.attempts.start("zhang", "guesser") is None


async def test_attempts_do_not_show_who_is_a_user(open_store, runtime):
    """A name without a user has the waits and the stored rows of a user."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    waits, stored = {}, {}
    for name in ("zhang", "nobody"):
        waits[name] = []
        for _ in range(10):
            until = await store.users.attempts.start(name, f"address of {name}")
            waits[name].append(until and until - runtime.now())
            runtime.advance_time(SECOND)
        is_theirs = SIGN_IN_ATTEMPT.c.source == f"address of {name}"
        rows = await store.database.read(
            lambda connection, which=is_theirs: connection.execute(
                SIGN_IN_ATTEMPT.select().where(which)
            ).all()
        )
        stored[name] = sorted((row.failures, row.name_hash == "") for row in rows)
        assert not [row for row in rows if name in row.name_hash]
    assert waits["zhang"] == waits["nobody"]
    assert stored["zhang"] == stored["nobody"]


async def test_names_that_nobody_has_do_not_fill_the_database(
    open_store, runtime, monkeypatch
):
    """The counts that were quiet longest are forgotten, but none of codes."""
    monkeypatch.setattr(attempts, "MAX_ATTEMPT_ROWS", 20)
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    for _ in range(attempts.FREE_CODES):
        await store.users.attempts.start_code("zhang")
        await store.users.attempts.start_code("zhang", "stolen")
    for number in range(60):
        runtime.advance_time(SECOND)
        await store.users.attempts.start(f"name-{number}", f"address {number}")
    count = select(func.count()).select_from(SIGN_IN_ATTEMPT)
    assert await store.database.read(lambda connection: connection.scalar(count)) <= 23
    codes = select(SIGN_IN_ATTEMPT.c.failures).where(
        SIGN_IN_ATTEMPT.c.source.in_([attempts.CODES, "session stolen"])
    )
    kept = await store.database.read(lambda connection: connection.scalars(codes).all())
    assert kept == [attempts.FREE_CODES] * 2


async def refuse(
    store, number, *, name="zhang", kind=RefusalKind.PASSWORD, source="address 10.0.0.1"
):
    """Refuse something so many times, and return how many of them the audit names."""
    return [
        await store.users.attempts.record_refusal(kind, name, source)
        for _ in range(number)
    ]


async def test_what_is_refused_is_in_the_audit_and_a_flood_does_not_fill_it(
    open_store, runtime
):
    """The audit names the first of an hour, each new source and each tenth power.

    The rest is counted at the end.
    """
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    for source in range(12):
        await refuse(store, 20, source=f"address 10.0.0.{source}")
    await refuse(store, 120, name="nobody at all")
    runtime.advance_time(REFUSAL_WINDOW)
    await store.users.attempts.close_windows()
    entries = [
        entry
        for entry in await store.queries.audit_history("user:zhang")
        if entry.event == "password_refused"
    ]
    others = [
        entry
        for entry in await store.queries.audit_history("user:?")
        if entry.event == "password_refused"
    ]
    assert [entry.detail["number"] for entry in entries] == [
        1,
        10,
        21,
        41,
        61,
        81,
        100,
        240,
    ]
    assert [entry.detail["number"] for entry in others] == [1, 10, 100, 120]
    assert entries[2].detail["source"] == "address 10.0.0.1"
    assert (await store.dashboard.figures()).refusals == {"password": 360}


async def test_a_flood_of_wrong_tokens_is_written_once_a_second(open_store, runtime):
    """A free flood of wrong tokens does not keep the database busy, and is fully counted."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    written = await store.dashboard.audit_number()
    for _ in range(500):
        await store.users.attempts.note_refusal(
            RefusalKind.TOKEN, "", "address 10.0.0.1"
        )
    during = (await store.dashboard.figures()).refusals
    runtime.advance_time(SECOND)
    await store.users.attempts.note_refusal(RefusalKind.TOKEN, "", "address 10.0.0.1")
    assert during == {"token": 1}
    assert (await store.dashboard.figures()).refusals == {"token": 501}
    assert await store.dashboard.audit_number() == written + 2
    assert [alert.facts["number"] for alert in await store.queries.alerts()] == ["501"]


async def test_a_burst_within_a_second_is_counted_though_none_follows(
    open_store, runtime
):
    """A burst that ends is in figures, alert and audit a moment later, without another refusal."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    attempts = store.users.attempts
    for _ in range(50):
        await attempts.note_refusal(RefusalKind.PERMISSION, "zhang", "address 10.0.0.1")
    await attempts.write_waiting()
    at_once = (await store.dashboard.figures()).refusals
    runtime.advance_time(SECOND)
    await attempts.write_waiting()
    await attempts.write_waiting()
    assert at_once == {"permission": 1}
    assert (await store.dashboard.figures()).refusals == {"permission": 50}
    assert [alert.facts["number"] for alert in await store.queries.alerts()] == ["50"]


@pytest.mark.parametrize("kind", RefusalKind)
async def test_a_burst_of_refusals_is_an_alert_that_ends_by_itself(
    open_store, runtime, kind
):
    """Too many within an hour are one alert, for as long as they go on and an hour more."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    await refuse(store, REFUSALS_BEFORE_ALERT[kind] - 1, kind=kind)
    before = await store.queries.alerts()
    await refuse(store, 100, kind=kind)
    [during] = await store.queries.alerts()
    runtime.advance_time(REFUSAL_WINDOW - SECOND)
    await refuse(store, 1, kind=kind)
    runtime.advance_time(REFUSAL_WINDOW - SECOND)
    await store.users.attempts.close_windows()
    going_on = await store.queries.alerts()
    runtime.advance_time(SECOND)
    await store.users.attempts.close_windows()
    assert before == []
    assert (during.code, during.subject) == (ALERT_OF_KIND[kind], "user:zhang")
    assert [alert.id for alert in going_on] == [during.id]
    assert await store.queries.alerts() == []
    assert await store.users.attempts.close_windows() == 0


async def test_a_user_hears_once_of_failed_sign_ins(open_store, runtime):
    """Failed passwords and codes since the last sign-in are counted together.

    Refused actions are not counted.
    """
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    await refuse(store, 3)
    runtime.advance_time(SECOND)
    await refuse(store, 2, kind=RefusalKind.CODE, source="address 10.0.0.2")
    await refuse(store, 4, kind=RefusalKind.PERMISSION)
    failed = await store.users.attempts.take_failures("zhang")
    assert (failed.number, failed.last_at, failed.source) == (
        5,
        runtime.now(),
        "address 10.0.0.2",
    )
    assert await store.users.attempts.take_failures("zhang") is None


async def test_no_session_begins_after_its_user_was_reset(open_store):
    """A reset, a disabling or a new password stops a sign-in that was checked before it."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    checked = await store.users.get("zhang")
    await store.sign_ins.start_session("zhang", "here", LI, signed_in=checked)
    await store.users.reset("zhang", LI)
    for begin in (
        store.sign_ins.start_session("zhang", "here", LI, signed_in=checked),
        store.sign_ins.issue_token("zhang", [Permission.VIEW], LI, signed_in=checked),
        store.users.change_password(checked, "hash", LI),
    ):
        with pytest.raises(SignInError, match="sign_in_ended"):
            await begin


async def test_each_change_of_users_is_in_the_audit(open_store):
    """Each change of a user, and breaking the glass, leaves one entry.

    The changes are adding, changing, activating, disabling, enabling and resetting.
    """
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    await add_active(store, "wang")
    await store.users.change_grants("wang", ADMIN, LI)
    await store.users.disable("wang", LI)
    await store.users.enable("wang", LI, breaks_glass=True)
    await store.users.reset("wang", LI)
    history = await store.queries.audit_history("user:wang")
    assert [entry.event for entry in history] == [
        "user_added", "user_activated", "user_changed", "user_disabled",
        "user_enabled", "break_glass", "user_reset",
    ]  # fmt: skip
    assert sorted(alert.code for alert in await store.queries.alerts()) == [
        "break_glass",
        "sign_in_reset",
    ]


ADD, CHANGE, RESET = UserChangeKind
RESETS = [frozenset({factor}) for factor in SignInFactor]


async def test_a_link_that_is_opened_again_and_again_elsewhere_does_not_fill_the_audit(
    open_store,
):
    """Every opening of the link is refused, and an alert stays open for the next link too.

    After a limit no more refusals are counted.
    """
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    openings = []
    for _ in range(2):
        link = (
            await store.users.add("wang", AUTHOR, LI)
            if not openings
            else await store.users.reset("wang", LI)
        )
        await store.sign_ins.open_link(link, "", "address 10.0.0.1", begins=True)
        for number in range(MAX_LINK_REFUSALS + 5):
            opened = await store.sign_ins.open_link(
                link, "", f"address 10.0.1.{number}", begins=True
            )
            openings.append(opened.is_elsewhere)
        alerts = [alert.code for alert in await store.queries.alerts()]
    entries = [entry.event for entry in await store.queries.audit_history("user:wang")]
    assert all(openings)
    assert entries.count("link_refused") == MAX_LINK_REFUSALS
    assert "link_opened_elsewhere" in alerts


async def test_what_is_no_link_takes_no_lock(open_store, monkeypatch):
    """Anybody may ask for any: only the first look at the database is paid for."""
    store = await open_store()
    await add_active(store, "zhang", ADMIN)
    monkeypatch.setattr(store.database, "write", None)
    assert (
        await store.sign_ins.open_link("no-link", "", "address 10.0.0.1", begins=True)
        is None
    )


async def add_admins(open_store, number=2):
    """Return a store with administrators called one, two and so on, and an author."""
    store = await open_store()
    for name in ("one", "two", "three")[:number]:
        await add_active(store, name, ADMIN)
    await add_active(store, "wang")
    return store


def change_of(kind, user, *grants, factors=frozenset()):
    return UserChange(
        kind=kind, user=user, grants=tuple(map(parse_grant, grants)), factors=factors
    )


TAKEOVERS = [
    pytest.param(change_of(RESET, "wang", factors=RESETS[0]), id="reset-password"),
    pytest.param(change_of(RESET, "wang", factors=RESETS[1]), id="reset-second-factor"),
    pytest.param(change_of(RESET, "two", factors=RESETS[0]), id="reset-administrator"),
    pytest.param(change_of(CHANGE, "one", "admin", "approver"), id="roles-of-oneself"),
    pytest.param(
        change_of(CHANGE, "wang", "author", "operator"), id="roles-of-another"
    ),
    pytest.param(change_of(ADD, "new", "approver"), id="new-user"),
    pytest.param(change_of(ADD, "former", "viewer"), id="name-of-somebody-who-left"),
]
"""Ways for an administrator to pass for another user, or to write, approve or operate."""


async def list_people(store):
    return {
        (user.name, user.grants, user.has_password, user.has_second_factor)
        for user in await store.users.list()
    }


@pytest.mark.parametrize("change", TAKEOVERS)
async def test_one_administrator_alone_becomes_nobody(open_store, change):
    """Each takeover waits for a second administrator.

    Neither the requester nor a user without that role can confirm it.
    """
    store = await add_admins(open_store)
    await add_active(store, "former")
    await store.users.leave("former", [], LI)
    before = await list_people(store)
    changed = await store.user_changes.submit(change, named_person("one"))
    assert (changed.link, changed.request.by) == ("", "one")
    with pytest.raises(RefusedError, match="user_request_own"):
        await store.user_changes.confirm(changed.request.id, named_person("one"))
    assert await list_people(store) == before
    confirmed = await store.user_changes.confirm(
        changed.request.id, named_person("two")
    )
    assert bool(confirmed.link) is (change.kind is not CHANGE)
    assert await list_people(store) != before
    with pytest.raises(RefusedError, match="user_request_over"):
        await store.user_changes.confirm(changed.request.id, named_person("two"))
    events = [
        entry.event
        for entry in await store.queries.audit_history(f"user:{change.user}")
    ][-3:]
    made = {ADD: "user_added", CHANGE: "user_changed", RESET: "user_reset"}[change.kind]
    assert events == ["user_change_requested", "user_change_confirmed", made]


@pytest.mark.parametrize("change", TAKEOVERS)
async def test_who_removes_the_second_administrator_is_not_free(
    open_store, runtime, change
):
    """A recent administrator still counts, so disabling the second one first gains nothing."""
    store = await add_admins(open_store)
    await add_active(store, "former")
    await store.users.leave("former", [], LI)
    await store.users.disable("two", named_person("one"))
    assert (
        await store.user_changes.submit(change, named_person("one"))
    ).request is not None
    runtime.advance_time(ADMIN_COUNTED_FOR + SECOND)
    assert (
        await store.user_changes.submit(change, named_person("one"))
    ).request is None


async def test_what_makes_nobody_is_done_at_once(open_store):
    """Viewer changes and removals of roles need no second administrator.

    A viewer is added, roles are taken away and a viewer is reset.
    """
    store = await add_admins(open_store)
    changes = [
        change_of(ADD, "guest", "viewer"),
        change_of(CHANGE, "guest", "viewer", "viewer@a"),
        change_of(RESET, "guest", factors=RESETS[0]),
        change_of(CHANGE, "wang", "viewer"),
        change_of(CHANGE, "two", "viewer"),
    ]
    for change in changes:
        assert (
            await store.user_changes.submit(change, named_person("one"))
        ).request is None
    assert "sign_in_reset" not in {alert.code for alert in await store.queries.alerts()}


@pytest.mark.parametrize(
    "way", ["added", "never-used", "reset", "role-taken-away", "disabled"]
)
@pytest.mark.parametrize("breaks_glass", [False, True])
async def test_the_first_trusted_role_ends_what_one_administrator_could_set_up(
    open_store, way, breaks_glass
):
    """The first trusted role voids the sign-in set up by one administrator; a new link follows.

    The administrator that confirms the role gets the link. Nobody holds an author's sign-in by
    adding or resetting a viewer alone.
    """
    store = await add_admins(open_store)
    one, two = named_person("one"), named_person("two")
    if way == "role-taken-away":
        await store.user_changes.submit(change_of(CHANGE, "wang", "viewer"), one)
        first = change_of(RESET, "wang", factors=frozenset(SignInFactor))
        name = "wang"
    else:
        first, name = change_of(ADD, "guest", "viewer"), "guest"
    link = (await store.user_changes.submit(first, one)).link
    if way == "reset":
        await store.users.activate(link, SIGN_IN, named_person)
        link = (
            await store.user_changes.submit(
                change_of(RESET, name, factors=RESETS[0]), one
            )
        ).link
    if way != "never-used":
        await store.users.activate(link, SIGN_IN, named_person)
    session = await store.sign_ins.start_session(name, "here", one)
    token = await store.sign_ins.issue_token(name, [Permission.VIEW], one)
    if way == "disabled":
        await store.users.disable(name, one)
    request = (
        await store.user_changes.submit(change_of(CHANGE, name, "author"), one)
    ).request
    assert request.renews_sign_in
    assert await store.user_changes.requests() == [request]
    confirmed = await store.user_changes.confirm(
        request.id, two, breaks_glass=breaks_glass
    )
    assert confirmed.link
    assert await store.sign_ins.find_session(session) is None
    assert await store.sign_ins.find_token(token) is None
    with pytest.raises(RefusedError, match="link_invalid"):
        await store.users.activate(link, SIGN_IN, named_person)
    assert not await store.users.use_recovery_code(name, "aaaa")
    proofs = await store.users.read_proofs(name)
    assert (proofs.password_hash, proofs.totp_secret) == (None, None)
    assert proofs.user.awaits_second_factor is (way != "never-used")
    assert proofs.user.is_enabled is (way != "disabled")
    [reset] = [
        each
        for each in await store.user_changes.recent_resets(name)
        if each.confirmed_by
    ]
    assert (reset.by, reset.confirmed_by, reset.factors) == (
        "one",
        "two",
        set(SignInFactor),
    )
    expected = ("break_glass", "two") if breaks_glass else ("sign_in_reset", "one")
    assert [
        (alert.code, alert.facts["by"]) for alert in await store.queries.alerts()
    ] == [expected]
    if way == "disabled":
        await store.users.enable(name, one)
    assert (
        await store.users.activate(confirmed.link, SIGN_IN, named_person)
    ).has_password


async def test_a_viewer_who_becomes_an_administrator_counts_once_set_up_again(
    open_store,
):
    """A new administrator without an own sign-in neither confirms nor counts as a second one."""
    store = await add_admins(open_store)
    await add_active(store, "guest", (parse_grant("viewer"),))
    request = (
        await store.user_changes.submit(
            change_of(CHANGE, "guest", "admin"), named_person("one")
        )
    ).request
    link = (await store.user_changes.confirm(request.id, named_person("two"))).link
    assert not (await store.users.get("guest")).is_active_admin
    ended_at = select(AUTH_USER.c.admin_ended_at).where(AUTH_USER.c.name == "guest")
    assert (
        await store.database.read(lambda connection: connection.scalar(ended_at))
        is None
    )
    assert (await store.users.activate(link, SIGN_IN, named_person)).is_active_admin


async def test_a_further_role_leaves_the_sign_in(open_store):
    """A trusted user keeps the sign-in at a further role.

    No administrator could set it up alone, even if the trust was on one account only.
    """
    store = await add_admins(open_store)
    session = await store.sign_ins.start_session("wang", "here", LI)
    changed = await store.user_changes.submit(
        change_of(CHANGE, "wang", "author", "operator"), named_person("one")
    )
    confirmed = await store.user_changes.confirm(
        changed.request.id, named_person("two")
    )
    assert (changed.request.renews_sign_in, confirmed.link) == (False, "")
    assert await store.sign_ins.find_session(session) is not None
    assert await store.queries.alerts() == []


async def test_a_sole_administrator_promotes_without_a_new_link(open_store):
    """A sole administrator promotes a user without a new link.

    There is no second administrator to deceive, and a sole one could add the author at once.
    """
    store = await add_admins(open_store, 1)
    await add_active(store, "guest", (parse_grant("viewer"),))
    changed = await store.user_changes.submit(
        change_of(CHANGE, "guest", "author"), named_person("one")
    )
    assert (changed.link, changed.request) == ("", None)
    assert (await store.users.get("guest")).has_password


async def test_a_token_is_for_no_more_than_the_roles_of_its_user(open_store):
    """A token that was issued for more would grow with a later role; nothing is issued then."""
    store = await add_admins(open_store)
    await add_active(store, "guest", (parse_grant("viewer"),))
    with pytest.raises(RefusedError, match="token_wider_than_roles") as refused:
        await store.sign_ins.issue_token(
            "guest", [Permission.VIEW, Permission.WRITE, Permission.SEND], LI
        )
    assert refused.value.facts == {"name": "guest", "scope": "send, write"}
    assert await store.sign_ins.tokens_of("guest") == []
    token = await store.sign_ins.issue_token(
        "wang", permissions_of(await store.users.get("wang")), LI
    )
    await store.users.change_grants(
        "wang", tuple(map(parse_grant, ["author", "operator"])), LI
    )
    assert Permission.OPERATE not in (await store.sign_ins.find_token(token)).scope


async def test_a_sole_administrator_resets_with_an_alert(open_store):
    """A reset by a sole administrator is an alert.

    There is nobody to ask. The user sees the reset at each sign-in for a week.
    """
    store = await add_admins(open_store, 1)
    changed = await store.user_changes.submit(
        change_of(RESET, "wang", factors=RESETS[0]), named_person("one")
    )
    assert changed.link
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.subject, alert.facts["by"]) == (
        "sign_in_reset",
        "user:wang",
        "one",
    )
    [reset] = await store.user_changes.recent_resets("wang")
    assert (reset.by, reset.confirmed_by, reset.factors) == ("one", "", RESETS[0])


async def test_a_confirmed_reset_names_both(open_store):
    """The alert and the audit name the requester and the confirmer."""
    store = await add_admins(open_store)
    changed = await store.user_changes.submit(
        change_of(RESET, "wang", factors=RESETS[0]), named_person("one")
    )
    await store.user_changes.confirm(changed.request.id, named_person("two"))
    [alert] = await store.queries.alerts()
    assert (alert.code, alert.facts["by"], alert.facts["second"]) == (
        "sign_in_reset",
        "one",
        "two",
    )
    [reset] = await store.user_changes.recent_resets("wang")
    assert (reset.by, reset.confirmed_by) == ("one", "two")


@pytest.mark.parametrize(
    "end", ["expired", "declined", "requester-disabled", "replaced", "restored"]
)
async def test_a_request_that_is_over_cannot_be_confirmed(open_store, runtime, end):
    """A request ends after a day, with its requester, with a newer request, and with a restore."""
    store = await add_admins(open_store, 3)
    change = change_of(RESET, "wang", factors=RESETS[0])
    number = (await store.user_changes.submit(change, named_person("one"))).request.id
    match end:
        case "expired":
            runtime.advance_time(REQUEST_LIFETIME)
        case "declined":
            await store.user_changes.decline(number, named_person("two"))
        case "requester-disabled":
            await store.users.disable("one", named_person("two"))
        case "replaced":
            await store.user_changes.submit(
                change_of(CHANGE, "wang", "operator"), named_person("three")
            )
        case _:
            await store.database.write(
                lambda transaction: suspend_all(
                    transaction.connection, store.runtime.now()
                )
            )
    with pytest.raises(RefusedError, match="user_request_over"):
        await store.user_changes.confirm(number, named_person("two"))
    assert (await store.users.get("wang")).has_password


async def test_the_owner_of_the_workspace_may_confirm_in_an_emergency(open_store):
    """The server's command line confirms with a red alert if the second administrator is gone."""
    store = await add_admins(open_store)
    changed = await store.user_changes.submit(
        change_of(RESET, "wang", factors=RESETS[0]), named_person("one")
    )
    await store.user_changes.confirm(
        changed.request.id, named_person("one"), breaks_glass=True
    )
    assert [alert.code for alert in await store.queries.alerts()] == ["break_glass"]


async def test_two_resets_replace_both_factors(open_store):
    """One reset leaves the other factor as it is."""
    store = await add_admins(open_store, 1)
    left = []
    for factors in RESETS:
        await store.user_changes.submit(
            change_of(RESET, "wang", factors=factors), named_person("one")
        )
        user = await store.users.get("wang")
        left.append(
            (user.has_password, user.has_second_factor, user.awaits_second_factor)
        )
    assert left == [(False, True, False), (False, False, True)]
