"""The edits of a schedule while a post is filed, due or over, and their effects."""

from datetime import timedelta

import pytest

from publisher.domain.account import AccountId
from publisher.domain.delivery import RECONCILER, DesiredState, State
from publisher.domain.post import PostId
from publisher.domain.results import Rejected, Submitted, Ticket
from publisher.engine.planner import (
    active_schedule,
    apply_schedule,
    plan_window,
    resend_post,
)
from publisher.testing.fakes import START_TIME
from tests.engine.test_approvals import LI, approve, approving  # noqa: F401 # the fixture
from tests.engine.test_planner import deliveries, entry, planner, publish, stores  # noqa: F401 # the fixture

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FILE = "schedule.toml"
TOMORROW = START_TIME + 25 * HOUR


async def replan(planner):  # noqa: F811 # the fixture
    """Plan again from the version in force, as the daemon does all the time."""
    version = await planner.store.posts.schedule_version()
    return await plan_window(planner, await active_schedule(planner, FILE), version)


async def due_times(planner, post="p"):  # noqa: F811 # the fixture
    return {item.due_at for item in await deliveries(planner, post=PostId(post))}


async def alerts(planner, code):  # noqa: F811 # the fixture
    return [
        alert.facts
        for alert in await planner.store.queries.alerts()
        if alert.code == code
    ]


async def test_f101_a_post_moved_into_the_past_stays_as_it_is_filed(approving):  # noqa: F811 # the fixture
    """A post moved into the past goes out at its own time, with its approvals.

    The problem has its line, and a new warning is filed at once.
    """
    await apply_schedule(approving, entry("p", at=TOMORROW.isoformat()), FILE)
    await approve(approving.store, "p")
    slip = entry("p", at=(START_TIME - 5 * HOUR).isoformat()) + entry(
        "urgent", extra="urgent = true"
    )
    applied = await apply_schedule(approving, slip, FILE)
    [problem] = applied.left_out
    assert (problem.code, problem.location.line) == ("moved_into_past", 8)
    assert (applied.filed, await due_times(approving)) == (2, {TOMORROW})
    assert (await approving.store.approvals.tasks(PostId("p")))[0].status.is_approved
    await replan(approving)
    [alert] = await alerts(approving, "posts_left_out")
    assert alert["posts"] == "p"
    await apply_schedule(
        approving,
        slip.replace((START_TIME - 5 * HOUR).isoformat(), TOMORROW.isoformat()),
        FILE,
    )
    assert await alerts(approving, "posts_left_out") == []
    assert (await approving.store.approvals.tasks(PostId("p")))[0].status.is_approved


async def test_f101_a_post_moved_to_a_time_that_is_just_past_is_due_now(planner):  # noqa: F811 # the fixture
    """Within `max_delay` the person means now."""
    await apply_schedule(planner, entry("p", at=TOMORROW.isoformat()), FILE)
    applied = await apply_schedule(
        planner, entry("p", at=(START_TIME - 20 * MINUTE).isoformat()), FILE
    )
    assert (applied.left_out, await due_times(planner)) == (
        [],
        {START_TIME - 20 * MINUTE},
    )
    await publish(planner, AccountId("a"))
    assert (await deliveries(planner, account=AccountId("a")))[
        0
    ].state is State.PUBLISHED


async def test_f101_asap_on_a_planned_post_sends_it(planner, runtime):  # noqa: F811 # the fixture
    """Without approvals an `asap` post is due at once, and stays due.

    Put back before any call, it waits for its time again.
    """
    await apply_schedule(planner, entry("p", at=TOMORROW.isoformat()), FILE)
    runtime.advance_time(HOUR)
    for _ in range(2):
        await apply_schedule(planner, entry("p"), FILE)
        await replan(planner)
        assert await due_times(planner) == {START_TIME + HOUR}
        runtime.advance_time(MINUTE)
    await apply_schedule(planner, entry("p", at=TOMORROW.isoformat()), FILE)
    assert await due_times(planner) == {TOMORROW}
    await apply_schedule(planner, entry("p"), FILE)
    await publish(planner, AccountId("a"))
    assert (await deliveries(planner, account=AccountId("a")))[
        0
    ].state is State.PUBLISHED


async def test_f101_asap_on_a_planned_post_means_after_its_approvals(
    approving,  # noqa: F811 # the fixture
    runtime,
):
    """I5: the approvals for tomorrow do not count; the new ones make the post due.

    They come hours later. Put back to a time, the post waits for that time.
    """
    planned = entry("p", at=TOMORROW.isoformat())
    await apply_schedule(approving, planned, FILE)
    await approve(approving.store, "p")
    await apply_schedule(approving, entry("p"), FILE)
    maintenance, outbox = stores(approving)
    runtime.advance_time(5 * HOUR)
    await maintenance.run()
    assert await outbox.claim(10) == []
    await apply_schedule(approving, planned, FILE)
    await maintenance.run()
    assert {item.state for item in await deliveries(approving)} == {State.PENDING}
    assert (await due_times(approving), await outbox.claim(10)) == ({TOMORROW}, [])
    await apply_schedule(approving, entry("p"), FILE)
    await approve(approving.store, "p")
    await maintenance.run()
    assert len(await outbox.claim(10)) == 2


async def test_an_account_that_is_added_to_what_is_due_gets_nothing_unless_a_person_asks(
    planner,  # noqa: F811 # the fixture
    runtime,
):
    """An account added to a due post is reported once, and `resend` sends it.

    This holds within `max_delay` too, and while others wait.
    """
    at = (START_TIME + HOUR).isoformat()
    await apply_schedule(planner, entry("p", at=at, to='["a"]'), FILE)
    runtime.advance_time(HOUR + 22 * MINUTE)
    applied = await apply_schedule(planner, entry("p", at=at), FILE)
    assert [(late.post, late.accounts) for late in applied.late_accounts] == [
        ("p", ("b",))
    ]
    await publish(planner, AccountId("a"))
    for _ in range(2):
        await replan(planner)
        [alert] = await alerts(planner, "accounts_added_late")
        assert (alert["post"], alert["accounts"]) == ("p", "b")
    assert [item.account for item in await deliveries(planner)] == ["a"]
    post = await planner.store.posts.get_post(PostId("p"))
    assert await resend_post(planner, post, [AccountId("b")]) == 1
    await replan(planner)
    assert await alerts(planner, "accounts_added_late") == []
    assert len(await deliveries(planner)) == 2


async def test_an_account_of_the_settings_joins_what_is_to_come(planner, runtime):  # noqa: F811 # the fixture
    """After a restart with a larger group, the post of tomorrow is filed for the newcomer."""
    await apply_schedule(planner, entry("p", at=TOMORROW.isoformat(), to='["a"]'), FILE)
    runtime.advance_time(HOUR)
    assert (
        await apply_schedule(planner, entry("p", at=TOMORROW.isoformat()), FILE)
    ).filed == 1


async def test_i1_an_account_does_not_join_while_another_one_is_called(
    planner,  # noqa: F811 # the fixture
    monkeypatch,
):
    """A post that a person sends ahead is called before the plan is written.

    Its planned time is still to come.
    """
    at = TOMORROW.isoformat()
    await apply_schedule(planner, entry("p", at=at, to='["a"]'), FILE)

    read = planner.store.posts.stored_posts

    async def read_and_send_ahead(posts):
        known = await read(posts)
        await planner.store.actions.send_now(PostId("p"), LI)
        maintenance, outbox = stores(planner)
        await maintenance.promote_due()
        [lease] = await outbox.claim(10)
        await outbox.record_intent(lease)
        return known

    with monkeypatch.context() as patched:
        patched.setattr(
            type(planner.store.posts),
            "stored_posts",
            lambda _store, posts: read_and_send_ahead(posts),
        )
        applied = await apply_schedule(planner, entry("p", at=at), FILE)
    assert (applied.filed, [item.account for item in await deliveries(planner)]) == (
        0,
        ["a"],
    )
    await replan(planner)
    assert len(await alerts(planner, "accounts_added_late")) == 1


async def test_i1_an_account_does_not_join_what_a_person_sends_to_it(approving):  # noqa: F811 # the fixture
    """A post that waits for approvals is joined.

    It is not joined if the account was ordered to get it by itself.
    """
    await apply_schedule(approving, entry("p", to='["a"]'), FILE)
    post = await approving.store.posts.get_post(PostId("p"))
    await resend_post(approving, post, [AccountId("b")])
    assert (await apply_schedule(approving, entry("p"), FILE)).filed == 0
    assert len(await deliveries(approving)) == 2
    await apply_schedule(approving, entry("p") + entry("q", to='["a"]'), FILE)
    assert (await apply_schedule(approving, entry("p") + entry("q"), FILE)).filed == 1


@pytest.mark.parametrize(
    "changed", [{"title": "新的标题"}, {"at": TOMORROW.isoformat()}]
)
async def test_an_id_that_is_used_again_is_reported(planner, runtime, changed):  # noqa: F811 # the fixture
    """F70: an edit of a finished post changes nothing and has the line of its entry.

    It keeps no other post back.
    """
    await apply_schedule(planner, entry("p", to='["a"]'), FILE)
    await publish(planner, AccountId("a"))
    runtime.advance_time(2 * HOUR)
    assert (
        await apply_schedule(planner, entry("p", to='["a"]') + entry("q"), FILE)
    ).left_out == []
    applied = await apply_schedule(
        planner, entry("p", to='["a"]', **changed) + entry("q") + entry("r"), FILE
    )
    assert [(problem.code, problem.location.line) for problem in applied.left_out] == [
        ("edited_after_end", 3)
    ]
    assert applied.filed == 2
    assert (await planner.store.posts.get_post(PostId("p"))).title == "警惕退款诈骗"
    await apply_schedule(planner, entry("q") + entry("r"), FILE)
    assert await alerts(planner, "posts_left_out") == []


async def test_a_cancelled_post_that_is_edited_is_reported(planner):  # noqa: F811 # the fixture
    """An edit does not send a post that a person has cancelled, and the edit is reported."""
    at = TOMORROW.isoformat()
    await apply_schedule(planner, entry("p", at=at), FILE)
    await planner.store.actions.cancel_post(PostId("p"), LI, "mistake")
    assert (
        await apply_schedule(planner, entry("p", at=at) + "\n", FILE)
    ).left_out == []
    applied = await apply_schedule(planner, entry("p", at=at, title="新的标题"), FILE)
    assert [problem.code for problem in applied.left_out] == ["edited_after_end"]


async def test_an_edit_during_a_review_that_is_refused_goes_to_a_person(planner):  # noqa: F811 # the fixture
    """F70: the platform refuses the old text, and the new one waits for a decision.

    Nothing is live.
    """
    await apply_schedule(planner, entry("p", to='["a"]'), FILE)
    maintenance, outbox = stores(planner)
    await maintenance.promote_due()
    [lease] = await outbox.claim(10)
    await outbox.record_intent(lease)
    await outbox.record_outcome(
        lease, Submitted(ticket=Ticket(payload="1"), check_again_at=START_TIME + MINUTE)
    )
    await apply_schedule(planner, entry("p", to='["a"]', title="新的标题"), FILE)
    [submitted] = await deliveries(planner)
    assert submitted.desired is DesiredState.EDITED
    planner.store.runtime.advance_time(5 * MINUTE)
    [pending] = await outbox.due_readbacks([State.SUBMITTED], 10)
    refused = Rejected(code="weibo_20018", reason="")
    await outbox.record_readback(
        pending, refused, RECONCILER, planner.store.runtime.monotonic()
    )
    [held] = await deliveries(planner)
    assert (held.state, held.reason, held.ticket) == (State.HELD, "edited", None)
    assert len(await alerts(planner, "held.edited")) == 1
