"""Work that is claimed as there is room for it."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from publisher.domain.characters import is_storable
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Healthy,
    NotFound,
    NotSent,
    ObservedPost,
    PossibleMatch,
    Published,
    Reach,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    TransportReason,
    Unknown,
)
from publisher.engine.calls import call_adapter, clean_result, run_bounded
from publisher.store.db.tables import dump_result


async def test_the_first_batch_is_begun_before_the_second_is_claimed():
    """Of very many items the first are begun while the others still wait to be claimed.

    All items are done.
    """
    left, done, reported = list(range(7)), [], []

    async def take(room):
        reported.append(("take", room, len(done)))
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(thing):
        done.append(thing)

    assert await run_bounded(take, work, 5, "failed", batch_size=2) == 7
    assert sorted(done) == list(range(7))
    assert reported[:3] == [("take", 2, 0), ("take", 2, 2), ("take", 2, 4)]


@pytest.mark.parametrize("portion", [None, 3])
async def test_never_more_than_the_limit_are_in_progress(portion):
    """A slow item keeps its slot, and no more is claimed than there are free slots."""
    left, inside, most = list(range(12)), 0, 0
    go_on = asyncio.Event()

    async def take(room):
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(_thing):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if most == 4:
            go_on.set()
        await go_on.wait()
        inside -= 1

    assert await run_bounded(take, work, 4, "failed", portion) == 12
    assert most == 4


def busy():
    """Return the error of a database that is locked by another program."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return OperationalError("BEGIN IMMEDIATE", {}, error)


async def test_a_failure_is_raised_once_the_other_work_is_done():
    """One failure does not stop the other items, and is raised in the end.

    An outage of the database hides no bug.
    """
    mistake, done = KeyError("p"), []
    left = [None, mistake, busy(), None]

    async def take(room):
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(error):
        if error is not None:
            raise error
        done.append(True)

    with pytest.raises(ExceptionGroup) as raised:
        await run_bounded(take, work, 1, "failed")
    assert (raised.value.exceptions, len(done)) == ((mistake,), 2)


async def test_a_failure_of_work_that_has_begun_is_logged_where_no_more_can_be_taken():
    """The error of taking is raised, and the failures of items taken before are logged."""
    can_fail, left = asyncio.Event(), [["item"]]

    async def take(_room):
        if left:
            return left.pop()
        can_fail.set()
        raise busy()

    async def work(_item):
        await can_fail.wait()
        raise KeyError("p")

    with capture_logs() as logged, pytest.raises(OperationalError):
        await run_bounded(take, work, 2, "failed")
    assert [(line["event"], repr(line["exc_info"])) for line in logged] == [
        ("failed", "KeyError('p')")
    ]


async def test_what_ends_is_replaced_at_once(monkeypatch):
    """A free slot is filled as soon as one item ends, not at the next look for more.

    Another item may take long.
    """
    monkeypatch.setattr("publisher.engine.calls.REFILL_SECONDS", 0.5)
    left, go_on = list(range(100)), asyncio.Event()

    async def take(room):
        taken, left[:] = left[:room], left[room:]
        return taken

    async def work(item):
        if item == 99:
            go_on.set()
        elif item == 0:
            await go_on.wait()

    async with asyncio.timeout(20):
        assert await run_bounded(take, work, 2, "failed") == 100


async def test_f86_an_adapter_that_cannot_reach_the_database_is_no_bug():
    """F86: a call that ends because its adapter found no database is not logged as a fault.

    The outage is logged, once.
    """

    async def read_state():
        raise OperationalError(
            "SELECT", {}, psycopg.OperationalError("the server closed the connection")
        )

    with capture_logs() as entries:
        result = await call_adapter(read_state(), timedelta(seconds=1))
    assert result == Unknown(reason="adapter_failed")
    assert entries == []


NOON = datetime(2026, 11, 25, 4, tzinfo=UTC)
HALF_EMOJI, NUL = "\ud83d", "\0"
SPOILT = (HALF_EMOJI, NUL)
SOUND = Receipt(remote_id="1", url="https://x.example/1", published_at=NOON)


@pytest.mark.parametrize("spoilt", SPOILT, ids=ascii)
@pytest.mark.parametrize(
    "make",
    [
        lambda said: Rejected(code="20018", reason=said),
        lambda said: Busy(code="10009", reason=said, until=NOON),
        lambda said: Blocked(code=said, reason=said),
        lambda said: CredentialExpired(reason=said),
        lambda said: NotSent(reason=said),
        lambda said: Unknown(reason=said, is_duplicate=True),
        lambda said: [
            ObservedPost(remote_id="1", url="https://u", published_at=NOON, text=said)
        ],
    ],
)
def test_f31_what_a_code_proves_stays_proven(make, spoilt):
    """F31: half an emoji, or U+0000, in a platform's text is replaced.

    The result is the same otherwise.
    """
    assert clean_result(make(f"no{spoilt}")) == make("no\ufffd")


@pytest.mark.parametrize("spoilt", SPOILT, ids=ascii)
@pytest.mark.parametrize(
    "make",
    [
        lambda name: Published(
            receipt=Receipt(remote_id=name, url="u", published_at=NOON)
        ),
        lambda name: Published(
            receipt=Receipt(remote_id="1", url=name, published_at=NOON)
        ),
        lambda name: Submitted(ticket=Ticket(payload=name), check_again_at=NOON),
        lambda name: PossibleMatch(remote_id=name, url="u"),
        lambda name: Healthy(identity=name),
        lambda name: {name: Reach(reads=1)},
        lambda name: {"1": Reach(url=name)},
        lambda name: [
            ObservedPost(remote_id=name, url="u", published_at=NOON, text="")
        ],
    ],
)
def test_f31_a_damaged_id_is_none(make, spoilt):
    """F31: an id, address or ticket that would have to be changed is not used.

    The reply has no information then.
    """
    assert clean_result(make(f"1{spoilt}")) == Unknown(reason="bad_response")


@pytest.mark.parametrize("figure", [2**31, -(2**63) - 1])
def test_f31_a_figure_that_no_column_holds_is_none(figure):
    """F31: a count beyond a database's range fails no job: the reply has no information."""
    assert clean_result({"1": Reach(reads=figure)}) == Unknown(reason="bad_response")


@pytest.mark.parametrize(
    "result",
    [
        Published(receipt=SOUND),
        Rejected(code="20018", reason="包含非法内容 😀"),
        NotSent(reason=TransportReason.TIMEOUT),
        NotFound(covered_since=NOON),
        {"1": Reach(reads=2**31 - 1, url="u")},
        [ObservedPost(remote_id="1", url="https://u", published_at=NOON, text="😀")],
        (),
    ],
    ids=lambda result: type(result).__name__,
)
def test_a_sound_result_is_returned_as_it_is(result):
    """The same object, with the types that its adapter gave it."""
    assert clean_result(result) is result


def test_f31_a_foreign_post_leads_nobody_to_a_script():
    """F31: staff are asked to open its address."""
    [post] = clean_result(
        [
            ObservedPost(
                remote_id="1", url="javascript:alert(1)", published_at=NOON, text="x"
            )
        ]
    )
    assert post.url == ""


ANY_TEXT = st.text(st.characters() | st.sampled_from(SPOILT), max_size=6)


@given(
    st.builds(Rejected, code=ANY_TEXT, reason=ANY_TEXT)
    | st.builds(Unknown, reason=ANY_TEXT)
    | st.builds(
        Published,
        receipt=st.builds(
            Receipt, remote_id=ANY_TEXT, url=ANY_TEXT, published_at=st.just(NOON)
        ),
    )
    | st.builds(
        Submitted,
        ticket=st.builds(Ticket, payload=ANY_TEXT),
        check_again_at=st.just(NOON),
    )
    | st.builds(PossibleMatch, remote_id=ANY_TEXT, url=ANY_TEXT)
)
def test_f31_whatever_a_platform_writes_can_be_stored(result):
    """F31: every result leaves the gate in a form that can be written.

    A code's result keeps its type.
    """
    cleaned = clean_result(result)
    assert is_storable(dump_result(cleaned)["detail"])
    assert type(cleaned) is type(result) or cleaned == Unknown(reason="bad_response")
