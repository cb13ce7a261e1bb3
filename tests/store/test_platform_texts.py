"""A platform's text is stored on either database, or costs no more than itself."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from publisher.domain.delivery import State
from publisher.domain.post import PostId
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    NotSent,
    ObservedPost,
    PossibleMatch,
    Published,
    RateLimited,
    Reach,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import named_person
from publisher.engine.monitor import monitor_due
from publisher.engine.reconciler import reconcile_due, retract_due
from publisher.engine.sender import send_due
from publisher.store.db.monitor_tables import OBSERVED_POST
from publisher.store.db.tables import ATTEMPT, READBACK
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter

SPOILT = pytest.mark.parametrize("spoilt", ["\ud83d", "\0"], ids=["half-emoji", "nul"])


async def stage(open_store):
    """Return a worker with one due post, and its platform."""
    store = await open_store(make_policy("a"))
    fake = FakeAdapter(now=store.runtime.now)
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    await store.maintenance.promote_due()
    return store, fake


async def send(store, fake):
    await send_due(store, {"a": fake}, 10, asyncio.Event())
    return await get_delivery(store)


async def get_delivery(store):
    [delivery] = await store.queries.deliveries(post=PostId("p"))
    return delivery


async def read_rows(store, table):
    return await store.database.read(
        lambda connection: connection.execute(table.select()).mappings().all()
    )


@SPOILT
async def test_f31_f45_a_refusal_with_half_an_emoji_is_final(
    open_store, runtime, spoilt
):
    """F31, F45: the post fails at once, with its alert, and is never sent a second time."""
    store, fake = await stage(open_store)
    fake.script.append(Rejected(code="weibo_20018", reason=f"包含非法内容 {spoilt}"))
    assert ((await send(store, fake)).state, len(fake.calls)) == (State.FAILED, 1)
    assert [alert.code for alert in await store.queries.alerts()] == [
        "failed.weibo_20018"
    ]
    for _hour in range(12):
        runtime.advance_time(timedelta(hours=1))
        await store.maintenance.run()
        await send(store, fake)
        await reconcile_due(store, {"a": fake}, 10)
    assert ((await get_delivery(store)).state, len(fake.calls)) == (State.FAILED, 1)


@SPOILT
@pytest.mark.parametrize("is_ticket", [False, True], ids=["id", "ticket"])
async def test_f31_a_post_with_a_damaged_id_is_found_by_reading(
    open_store, runtime, spoilt, is_ticket
):
    """F31, F33: a damaged id or ticket counts as none, so the outcome is unknown until a read."""
    store, fake = await stage(open_store)

    def reply(request):
        receipt = fake.add_post(request)
        if is_ticket:
            return Submitted(
                ticket=Ticket(payload=f"1{spoilt}"), check_again_at=START_TIME
            )
        return Published(
            receipt=Receipt(
                remote_id=f"1{spoilt}",
                url=receipt.url,
                published_at=receipt.published_at,
            )
        )

    fake.script.append(reply)
    assert (await send(store, fake)).state is State.UNKNOWN
    runtime.advance_time(timedelta(minutes=2))
    await reconcile_due(store, {"a": fake}, 10)
    delivery = await get_delivery(store)
    assert (delivery.state, delivery.receipt.remote_id, len(fake.calls)) == (
        State.PUBLISHED,
        "1",
        1,
    )


@SPOILT
async def test_f31_f52_a_damaged_read_is_stored_and_proves_nothing(
    open_store, runtime, spoilt
):
    """F31, F52: such a reply fails no job, is no absence, and a refusal of a review stays one."""
    store, fake = await stage(open_store)
    fake.script.append(Unknown(reason="timeout"))
    await send(store, fake)
    fake.findings += [
        PossibleMatch(remote_id=f"9{spoilt}", url="https://fake.example/9"),
        Published(
            receipt=Receipt(
                remote_id="9",
                url=f"https://fake.example/{spoilt}",
                published_at=START_TIME,
            )
        ),
        Unknown(reason=f"no{spoilt}"),
        Rejected(code="refused", reason=f"no{spoilt}"),
    ]
    for _read in range(3):
        runtime.advance_time(timedelta(hours=1))
        await reconcile_due(store, {"a": fake}, 10)
        assert (await get_delivery(store)).state is State.UNKNOWN
    runtime.advance_time(timedelta(hours=1))
    await reconcile_due(store, {"a": fake}, 10)
    readbacks = await read_rows(store, READBACK)
    assert [row["result"] for row in readbacks] == [
        "unknown",
        "unknown",
        "unknown",
        "rejected",
    ]
    assert len(fake.calls) == 1


class DamagedLists(FakeAdapter):
    """A platform with a given list and given figures."""

    listed: list[ObservedPost]
    reach: Mapping[str, Reach]

    async def list_recent(self):
        return self.listed

    async def read_metrics(self, _receipts):
        return self.reach


@SPOILT
async def test_f31_f57_an_observed_post_is_stored_with_what_can_be(
    open_store, runtime, spoilt
):
    """F31, F57: a list with a spoilt text is used, one with a spoilt id is not.

    Posts that it lacks are not missing.
    """
    store, _fake = await stage(open_store)
    platform = DamagedLists(now=runtime.now)
    await send(store, platform)
    platform.reach = {"1": Reach(reads=2**40)}
    own, other = (
        ObservedPost(
            remote_id=name, url="u", published_at=START_TIME, text=f"x{spoilt}"
        )
        for name in "1s"
    )
    damaged = ObservedPost(
        remote_id=f"s{spoilt}", url="u", published_at=START_TIME, text=""
    )
    for listed in ([damaged], [own, other]):
        platform.listed = listed
        runtime.advance_time(timedelta(hours=1))
        assert await monitor_due(store, {"a": platform}, 10) == 1
        assert (await get_delivery(store)).state is State.PUBLISHED
    assert [row["remote_id"] for row in await read_rows(store, OBSERVED_POST)] == ["s"]


@SPOILT
async def test_f31_f78_a_refused_deletion_is_stored(
    open_store, runtime, spoilt, monkeypatch
):
    """F31, F78: a deletion refused by the platform with half an emoji is shown with its reason."""
    store, fake = await stage(open_store)
    await send(store, fake)

    async def refuse(_self, _receipt):
        return Rejected(code="weibo_20102", reason=f"no{spoilt}")

    monkeypatch.setattr(FakeAdapter, "retract", refuse)
    await store.actions.retract(PostId("p"), None, named_person("li"), "wrong")
    await retract_due(store, {"a": fake}, 10)
    [alert] = [
        alert
        for alert in await store.queries.alerts()
        if alert.code == "retraction_refused"
    ]
    assert alert.facts["said"] == "no\ufffd"


ODD = "\ud83d"
NAIVE = START_TIME.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Rejected(code="20018", reason=ODD), State.FAILED),
        (Blocked(code="21315", reason=ODD), State.HELD),
        (Busy(code="10009", reason=ODD), State.RETRYING),
        (RateLimited(code="10023", until=NAIVE), State.RETRYING),
        (CredentialExpired(reason=ODD), State.RETRYING),
        (NotSent(reason=ODD), State.RETRYING),
        (Unknown(reason=ODD), State.UNKNOWN),
        (
            Submitted(ticket=Ticket(payload=ODD), check_again_at=START_TIME),
            State.UNKNOWN,
        ),
        (
            Published(receipt=Receipt(remote_id=ODD, url="", published_at=START_TIME)),
            State.UNKNOWN,
        ),
    ],
    ids=lambda value: (
        type(value).__name__ if not isinstance(value, State) else str(value)
    ),
)
async def test_f31_an_outcome_that_cannot_be_stored_is_stored_without_its_details(
    open_store, outcome, state
):
    """F31: a definite outcome is never lost, and the log names the details left out."""
    store, _fake = await stage(open_store)
    [lease] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    with capture_logs() as logged:
        after = await store.outbox.record_outcome(lease, outcome)
    assert after.state is state
    assert [row["ended_at"] is not None for row in await read_rows(store, ATTEMPT)] == [
        True
    ]
    assert "outcome_reduced" in [line["event"] for line in logged]
