"""An account or its method changes while posts of it are open, on SQLite and PostgreSQL."""

import asyncio
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import delete, select, update

from publisher.app.format import Formatter
from publisher.app.history import format_facts
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.post import PostId, SendRequest
from publisher.domain.results import (
    NotSent,
    ObservedPost,
    Published,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.monitor import monitor_due
from publisher.engine.reconciler import reconcile_due, retract_due
from publisher.engine.sender import send_due
from publisher.i18n import Messages
from publisher.store.db.intent_journal import read_records
from publisher.store.db.tables import ATTEMPT, DELIVERY, ORPHANED_ATTEMPT
from publisher.store.deliveries.intents import Declined
from publisher.store.lost_attempts import RECOVERY_MAINTENANCE, recover
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, TEST_CAPABILITIES, FakeAdapter
from tests.store.test_outbox import SECOND, claim_and_intend, only, receipt
from tests.store.test_unknown_outcomes import prove_absent

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
WANG = named_person("wang")
BOTH = {"sent_as": "former", "identity": "present"}


class ForbiddenAdapter(FakeAdapter):
    """An account in the place of another; each question to it about the former one is an error."""

    async def _refuse(self, *_about: object) -> object:
        pytest.fail("the present account was called for a post of the former one")

    publish = check_ticket = find_post = retract = read_metrics = _refuse


@dataclass
class Accounts:
    """One account in a store, first as one identity and then as another."""

    open_store: object
    runtime: object

    async def open(self, identity, *, parts=0, method="call", reported=()):
        """Open the store with settings that give the account this identity and this way of sending.

        The platform has then reported these names for it, one after the other.
        """
        capabilities = replace(TEST_CAPABILITIES, max_extra_parts=parts)
        policy = make_policy("a", identity=identity, capabilities=capabilities)
        store = await self.open_store(
            replace(policy, call_method=lambda _rendered, **_facts: method)
        )
        await store.accounts.register()
        for name in reported:
            assert (
                await store.login_health.record_verified(policy.account, "f", name)
                is None
            )
        return store


@pytest.fixture
def accounts(open_store, runtime):
    return Accounts(open_store, runtime)


async def make_open(store, outcome, *, parts=0):
    """Send one post, with this outcome."""
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME), parts=parts)
    lease, _request = await claim_and_intend(store)
    return await store.outbox.record_outcome(lease, outcome)


async def run_jobs(store, runtime, adapter):
    """Let hours pass, with every job that may call a platform."""
    adapters = {AccountId("a"): adapter}
    for _ in range(8):
        runtime.advance_time(HOUR)
        await store.maintenance.run()
        await send_due(store, adapters, 10, asyncio.Event())
        await reconcile_due(store, adapters, 10)
        await retract_due(store, adapters, 10)


async def verify_held(store):
    """Verify that the delivery is held, with both identities in the alert and in `why`."""
    held = await only(store)
    assert (held.state, held.reason) == (State.HELD, "identity_changed")
    [alert] = [
        alert
        for alert in await store.queries.alerts()
        if alert.code == "held.identity_changed"
    ]
    assert BOTH.items() <= alert.facts.items()
    formatter = Formatter(messages=Messages("en"), timezone=START_TIME.tzinfo)
    assert "sent as former, the account is now present" in formatter.alert(alert)
    facts = format_facts(await store.queries.delivery_history(held), formatter)
    assert "  sent as former, the account is now present" in list(facts)
    return held


@pytest.mark.parametrize(
    "outcome",
    [
        Unknown(reason="reset"),
        Submitted(ticket=Ticket(payload="7"), check_again_at=START_TIME + MINUTE),
    ],
    ids=["unknown", "submitted"],
)
async def test_f96_an_open_outcome_is_not_looked_for_on_another_account(
    accounts, runtime, outcome
):
    """F96: the present account gets neither a read nor a second call; a person decides."""
    await make_open(await accounts.open("former"), outcome)
    store = await accounts.open("present")
    await run_jobs(store, runtime, ForbiddenAdapter(now=runtime.now))
    held = await verify_held(store)
    assert held.attempts == 1


async def test_f96_a_restored_identity_is_looked_for_again(accounts, runtime):
    """F96: once the settings are put back, the delivery is found on the account that sent it."""
    fake = FakeAdapter(now=runtime.now)
    former = await accounts.open("former")
    await enqueue_posts(former.posts, make_post("p", ["a"], START_TIME))
    fake.script.append(fake.lose_reply)
    await former.maintenance.run()
    await send_due(former, {AccountId("a"): fake}, 10, asyncio.Event())
    present = await accounts.open("present")
    await run_jobs(present, runtime, ForbiddenAdapter(now=runtime.now))
    held = await verify_held(present)
    await resolve_delivery(
        former, held, Resolution.PUBLISHED, by=WANG, reason="put back"
    )
    await reconcile_due(former, {AccountId("a"): fake}, 10)
    assert ((await only(former)).state, len(fake.calls)) == (State.PUBLISHED, 1)


async def test_f96_a_person_may_send_it_on_the_present_account(accounts, runtime):
    """F96: on a person's order the post is sent as the present account, and stays its own."""
    await make_open(await accounts.open("former"), Unknown(reason="reset"))
    store, fake = await accounts.open("present"), FakeAdapter(now=runtime.now)
    await reconcile_due_after(store, runtime)
    await resolve_delivery(
        store, await only(store), Resolution.RESEND, by=WANG, reason="checked"
    )
    fake.script.append(fake.lose_reply)
    await send_due(store, {AccountId("a"): fake}, 10, asyncio.Event())
    await run_jobs(store, runtime, fake)
    assert ((await only(store)).state, len(fake.calls)) == (State.PUBLISHED, 1)
    assert fake.calls[0].identity == "present"


async def reconcile_due_after(store, runtime):
    runtime.advance_time(HOUR)
    await reconcile_due(store, {AccountId("a"): ForbiddenAdapter(now=runtime.now)}, 10)


@pytest.mark.parametrize(
    "outcome",
    [Published(receipt=receipt()), Unknown(reason="reset")],
    ids=["published", "unknown"],
)
async def test_f96_nothing_is_deleted_on_another_account(accounts, runtime, outcome):
    """F96: a retraction of the former account's post calls nothing on the present one.

    A person deletes the post.
    """
    await make_open(await accounts.open("former"), outcome)
    store = await accounts.open("present")
    await store.actions.retract(PostId("p"), None, WANG, "wrong")
    await run_jobs(store, runtime, ForbiddenAdapter(now=runtime.now))
    held = await verify_held(store)
    await resolve_delivery(
        store, held, Resolution.NOT_PUBLISHED, by=WANG, reason="deleted there"
    )
    assert (await only(store)).state is State.RETRACTED


async def test_f96_a_further_part_does_not_follow_on_another_account(accounts, runtime):
    """F96: the present account sends no part of a text begun by the former one.

    Not even a person's order changes that.
    """
    await make_open(
        await accounts.open("former", parts=1), Published(receipt=receipt()), parts=1
    )
    store = await accounts.open("present", parts=1)
    for _ in range(2):
        await run_jobs(store, runtime, ForbiddenAdapter(now=runtime.now))
        held = await verify_held(store)
        await resolve_delivery(store, held, Resolution.RESEND, by=WANG, reason="go on")


async def test_f96_no_second_call_follows_on_another_account(accounts, runtime):
    """F96: absence that was proven on the former account leads to no call on the present one."""
    store = await accounts.open("former")
    await make_open(store, Unknown(reason="reset"))
    assert (await prove_absent(store, runtime)).state is State.DUE
    store = await accounts.open("present")
    await run_jobs(store, runtime, ForbiddenAdapter(now=runtime.now))
    await verify_held(store)


async def test_f96_what_was_never_called_goes_out_on_the_present_account(
    accounts, runtime
):
    """F96: where no call may have had an effect, a changed identity holds nothing back."""
    await make_open(await accounts.open("former"), NotSent(reason="dns_failed"))
    store, fake = await accounts.open("present"), FakeAdapter(now=runtime.now)
    runtime.advance_time(MINUTE)
    await store.maintenance.run()
    await send_due(store, {AccountId("a"): fake}, 10, asyncio.Event())
    assert ((await only(store)).state, [call.identity for call in fake.calls]) == (
        State.PUBLISHED,
        ["present"],
    )


async def test_f96_posts_of_the_former_account_are_not_taken_for_removed(
    accounts, runtime
):
    """F96: the present account's list proves nothing about the former one; one alert says so.

    The same holds for its figures and its older posts.
    """
    former = await accounts.open("former")
    fake = FakeAdapter(now=runtime.now)
    await enqueue_posts(former.posts, make_post("p", ["a"], START_TIME))
    await former.maintenance.run()
    await send_due(former, {AccountId("a"): fake}, 10, asyncio.Event())
    await monitor_due(former, {AccountId("a"): fake}, 10)
    own = ObservedPost(
        remote_id="s",
        url="https://fake.example/s",
        published_at=START_TIME + MINUTE,
        text="别的",
    )
    store = await accounts.open("present")
    present = ForbiddenAdapter(now=runtime.now, external_posts=[own])
    for _ in range(5):
        runtime.advance_time(2 * HOUR)
        assert await monitor_due(store, {AccountId("a"): present}, 10) == 1
    assert (await only(store)).state is State.PUBLISHED
    [alert] = await store.queries.alerts()
    assert alert.code == "account_identity_changed"
    assert {**BOTH, "account": "a", "number": "1"}.items() <= alert.facts.items()
    runtime.advance_time(2 * HOUR)
    await monitor_due(former, {AccountId("a"): fake}, 10)
    assert (await store.queries.alerts(), (await only(store)).verified_at) == (
        [],
        runtime.now(),
    )


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (("name", ["number"]), ("number", []), True),
        (("name", ["number"]), ("number", ["number"]), True),
        (("number", []), ("name", ["number"]), True),
        (("name", ["number"]), ("alias", ["number"]), True),
        (("name", []), ("number", []), False),
        (("name", ["number"]), ("alias", []), False),
        (("name", ["number"]), ("alias", ["other"]), False),
        (("name", ["number", "other"]), ("other", []), False),
        (("name", ["number", "other", "number"]), ("number", []), False),
    ],
    ids=[
        "as reported", "as reported twice", "by a name", "by two names",
        "nothing reported", "not reported yet",
        "another's name", "a name that was another's", "a name that was another's between",
    ],
)  # fmt: skip
async def test_f96_two_spellings_of_one_account_are_no_change(
    accounts, runtime, first, second, is_same
):
    """F96, F97: only the platform's own word makes two spellings one.

    A name that the platform gave to two accounts proves nothing.
    """
    former = await accounts.open(first[0], reported=first[1])
    await make_open(former, Unknown(reason="reset"))
    store = await accounts.open(second[0], reported=second[1])
    runtime.advance_time(MINUTE)
    pending = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    assert [one.request.identity for one in pending] == ([first[0]] if is_same else [])
    assert (await only(store)).reason == ("reset" if is_same else "identity_changed")


async def test_f96_the_same_name_in_another_forum_is_another_account(
    open_store, runtime
):
    """F96: one platform name in two forums is two accounts, since their posts appear elsewhere."""
    policy = make_policy("a", identity="name")
    for forum in ("x", "y"):
        placed = replace(policy, account=replace(policy.account, forum=forum))
        store = await open_store(placed)
        await store.accounts.register()
        await store.login_health.record_verified(placed.account, "f", "number")
        if forum == "x":
            await make_open(store, Unknown(reason="reset"))
    runtime.advance_time(MINUTE)
    assert await store.outbox.due_readbacks([State.UNKNOWN], 10) == []
    [alert] = await store.queries.alerts()
    assert {
        "sent_as": "name / x",
        "identity": "name / y",
    }.items() <= alert.facts.items()


async def test_f96_a_second_call_may_follow_under_another_spelling(accounts, runtime):
    """F96: absence that was proven on the account is proven however it is spelled."""
    store = await accounts.open("name", reported=["number"])
    await make_open(store, Unknown(reason="reset"))
    assert (await prove_absent(store, runtime)).state is State.DUE
    _lease, request = await claim_and_intend(await accounts.open("number"))
    assert request.identity == "number"


async def test_f96_posts_under_another_spelling_are_watched_on(accounts, runtime):
    """F96: they are confirmed by the list, their figures are read, and nothing is announced."""
    fake = FakeAdapter(now=runtime.now)
    former = await accounts.open("name", reported=["number"])
    await enqueue_posts(former.posts, make_post("p", ["a"], START_TIME))
    await former.maintenance.run()
    await send_due(former, {AccountId("a"): fake}, 10, asyncio.Event())
    await monitor_due(former, {AccountId("a"): fake}, 10)
    store = await accounts.open("number")
    runtime.advance_time(2 * HOUR)
    assert len(await store.monitoring.deliveries_to_measure(AccountId("a"))) == 1
    await monitor_due(store, {AccountId("a"): fake}, 10)
    assert (await store.queries.alerts(), (await only(store)).verified_at) == (
        [],
        runtime.now(),
    )


async def test_f96_an_attempt_from_the_journal_keeps_its_identity_and_method(
    accounts, runtime, tmp_path
):
    """F85, F96, F99: a lost or orphaned attempt is judged by its journal line."""
    former = await accounts.open("former", method="quiet")
    await make_open(former, Unknown(reason="reset"))
    [line] = read_records(tmp_path / "intents.jsonl")
    assert (line.identity, line.method) == ("former", "quiet")
    store = await accounts.open("present")

    def lose(transaction):
        for table in (ATTEMPT, DELIVERY):
            transaction.connection.execute(delete(table))
        recover(store, transaction, [line], RECOVERY_MAINTENANCE)

    await store.database.write(lose)
    orphan = await store.database.read(
        lambda connection: connection.execute(select(ORPHANED_ATTEMPT)).one()
    )
    assert (orphan.identity, orphan.method) == ("former", "quiet")
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    attempt = await store.database.read(
        lambda connection: connection.execute(select(ATTEMPT)).one()
    )
    assert (attempt.identity, attempt.method) == ("former", "quiet")
    await run_jobs(store, runtime, ForbiddenAdapter(now=runtime.now))
    await verify_held(store)


async def test_f99_a_readback_is_told_how_the_call_was_made(accounts, runtime):
    """F99: a readback request has the method of its attempt, even after the settings change.

    The post may have changed by then, too.
    """
    await make_open(await accounts.open("a", method="quiet"), Unknown(reason="reset"))
    store = await accounts.open("a", method="loud")
    await store.database.write(
        lambda transaction: transaction.connection.execute(
            update(DELIVERY).values(is_urgent=True)
        )
    )
    runtime.advance_time(MINUTE)
    [pending] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    assert (pending.request.method, pending.request.is_urgent) == ("quiet", True)


@pytest.mark.parametrize(
    ("first", "second", "is_made"),
    [
        ("loud", "loud", True),
        ("loud", "quiet", False),
        ("quiet", "loud", False),
        ("loud", "", False),
        ("", "loud", True),
    ],
)
async def test_f99_a_second_call_is_made_by_the_method_of_the_first_or_not_at_all(
    accounts, runtime, first, second, is_made
):
    """F99: a second call has the method of the first, since only that method was judged.

    If nobody knows the first call's method, none was judged, and no call follows.
    """
    store = await accounts.open("a", method=first)
    await make_open(store, Unknown(reason="reset"))
    assert (await prove_absent(store, runtime)).state is State.DUE
    store = await accounts.open("a", method=second)
    _lease, answer = await claim_and_intend(store)
    if is_made:
        assert isinstance(answer, SendRequest)
        assert answer.method == second
        return
    held = await only(store)
    assert (answer, held.state, held.reason) == (
        Declined(guard="not_published"),
        State.HELD,
        "not_published",
    )
    await resolve_delivery(store, held, Resolution.RESEND, by=WANG, reason="checked")
    _lease, ordered = await claim_and_intend(store)
    assert ordered.method == second


async def test_f99_after_a_call_without_effect_the_next_may_be_made_by_another_method(
    accounts, runtime
):
    """F99: after a call that was not sent, the next call uses the post's present method.

    A call that was not sent is no first call.
    """
    await make_open(
        await accounts.open("a", method="quiet"), NotSent(reason="dns_failed")
    )
    store = await accounts.open("a", method="loud")
    runtime.advance_time(MINUTE)
    _lease, request = await claim_and_intend(store)
    assert request.method == "loud"


@pytest.mark.parametrize("named", [1, None, KeyError("way")])
async def test_f99_an_adapter_that_cannot_name_the_method_stops_nothing(
    open_store, named
):
    """F99: the post goes out, and the way of its call counts as not known."""

    def name(_rendered, *, is_urgent):
        assert is_urgent is False
        if isinstance(named, Exception):
            raise named
        return named

    store = await open_store(replace(make_policy("a"), call_method=name))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    _lease, request = await claim_and_intend(store)
    assert (request.method, request.identity) == ("", "a")
