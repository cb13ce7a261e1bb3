"""Posts by hand, and accounts with a mode that changes while posts are due."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from publisher.domain.account import AccountId, Mode, RateLimit
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError
from publisher.domain.post import PostId
from publisher.domain.results import (
    ObservedPost,
    RateLimited,
    Submitted,
    Ticket,
    Unknown,
)
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.reconciler import reconcile_due, retract_due
from publisher.engine.sender import send_due
from publisher.store.deliveries.intents import pending_readbacks
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME, FakeAdapter

A = AccountId("a")
LI = named_person("li")
URL = "https://fake.example/1"
DAY = START_TIME + timedelta(hours=24)


def policy_in_mode(mode):
    """Return an account's policy with this mode in its settings."""
    policy = make_policy("a")
    return replace(policy, account=replace(policy.account, mode=mode))


class ManualScene:
    """One account, the database, and a platform for a person's posts."""

    def __init__(self, store, runtime):
        self.store, self.runtime = store, runtime
        self.fake = FakeAdapter(now=runtime.now)
        self.adapters = {A: self.fake}
        self.queries, self.tasks = store.queries, store.manual_tasks
        self.actions = store.actions

    async def run_jobs(self):
        """Run every job once."""
        await self.store.maintenance.run()
        await send_due(self.store, self.adapters, 50, asyncio.Event())
        await reconcile_due(self.store, self.adapters, 50)
        await retract_due(self.store, self.adapters, 50)

    async def run_on(self, minutes, step=timedelta(minutes=1)):
        for _ in range(timedelta(minutes=minutes) // step):
            self.runtime.advance_time(step)
            await self.run_jobs()

    async def switch(self, mode):
        await self.actions.set_mode(A, mode, LI, "试验")

    async def now(self):
        [delivery] = await self.queries.deliveries(post=PostId("p"))
        return delivery

    async def alerts(self):
        return {alert.code for alert in await self.queries.alerts()}

    async def post_by_hand(self, text=None):
        """Post the open task's text, or another one."""
        [task] = await self.tasks.list_open()
        request = await self.request()
        words = text if text is not None else task.rendered.text
        return self.fake.add_post(
            replace(request, rendered=replace(request.rendered, text=words))
        )

    async def request(self):
        """Return the last attempt's request without claiming a read.

        Others on the same database would notice a claim.
        """
        store, delivery = self.store, await self.now()
        return await store.database.read(
            lambda connection: (
                pending_readbacks(store, connection, [delivery])[0].request
            )
        )

    async def report(self):
        await self.tasks.record_report((await self.now()).id, URL, LI)


@pytest.fixture
async def scene(open_store, runtime):
    """Return an account with manual posting and one due post."""
    made = ManualScene(await open_store(policy_in_mode(Mode.ASSISTED)), runtime)
    await enqueue_posts(
        made.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await made.run_jobs()
    return made


async def test_a_due_post_becomes_one_task_and_no_call(scene):
    """A due post becomes one task with the exact text, and people are alerted.

    Nothing is sent however long it waits.
    """
    assert [item.delivery.key.post for item in await scene.tasks.list_open()] == ["p"]
    await scene.run_on(minutes=180, step=timedelta(minutes=10))
    assert ((await scene.now()).state, (await scene.now()).attempts) == (
        State.SUBMITTED,
        1,
    )
    assert (scene.fake.calls, await scene.alerts()) == ([], {"manual_task_waiting"})


async def test_a_report_is_verified_by_reading(scene):
    """The person's post is found by its marker and text: published, and verified."""
    await scene.post_by_hand()
    await scene.report()
    await scene.run_jobs()
    delivery = await scene.now()
    assert (delivery.state, delivery.receipt.remote_id, scene.fake.calls) == (
        State.PUBLISHED,
        "1",
        [],
    )
    assert delivery.verified_at is not None
    assert await scene.alerts() == set()


@pytest.mark.long
async def test_a_report_alone_is_no_proof(scene):
    """A reported post that is not found stays one open task.

    People are alerted after the visibility window, not before.
    """
    await scene.report()
    await scene.run_on(minutes=9)
    assert await scene.alerts() == set()
    await scene.run_on(minutes=3)
    assert await scene.alerts() == {"manual_task_not_seen"}
    await scene.run_on(minutes=120, step=timedelta(minutes=5))
    assert (
        (await scene.now()).state,
        len(await scene.tasks.list_open()),
        scene.fake.calls,
    ) == (
        State.SUBMITTED,
        1,
        [],
    )
    await scene.post_by_hand()
    await scene.run_on(minutes=30)
    assert ((await scene.now()).state, await scene.alerts()) == (State.PUBLISHED, set())


@pytest.mark.long
async def test_done_without_a_report_is_seen_too(scene):
    """The account is read now and then.

    A forgotten report therefore costs an hour and not the post.
    """
    await scene.post_by_hand()
    await scene.run_on(minutes=61)
    assert (await scene.now()).state is State.PUBLISHED


async def test_another_text_under_our_marker_goes_to_a_person(scene):
    """A post with the marker but changed text is not adopted."""
    [task] = await scene.tasks.list_open()
    await scene.post_by_hand(f"改写过的内容{task.rendered.marker.code}")
    await scene.report()
    await scene.run_jobs()
    assert ((await scene.now()).state, (await scene.now()).reason) == (
        State.HELD,
        "possible_match",
    )


class Unlisted(FakeAdapter):
    """A platform with a post that is found by its number only.

    Its list fails, or shows only newer posts.
    """

    listed = ()

    async def list_recent(self):
        return self.listed


@pytest.mark.long
@pytest.mark.parametrize(
    ("listed", "reason"),
    [(Unknown(reason="timeout"), "timeout"), ((), "manual_task_not_listed")],
)
async def test_a_post_whose_text_cannot_be_read_stays_an_open_task(
    scene, listed, reason
):
    """A post found by its number alone stays an open task, as it may have other words.

    People are alerted with the reason, until it can be read.
    """
    await scene.post_by_hand()
    await scene.report()
    unlisted = Unlisted(now=scene.runtime.now, posts=scene.fake.posts)
    unlisted.listed = listed
    scene.adapters = {A: unlisted}
    await scene.run_on(minutes=15)
    assert (await scene.now()).state is State.SUBMITTED
    [alert] = await scene.queries.alerts()
    assert (alert.code, alert.facts["reason"]) == ("manual_task_uncheckable", reason)
    scene.adapters = {A: scene.fake}
    await scene.run_on(minutes=30)
    assert ((await scene.now()).state, await scene.alerts()) == (State.PUBLISHED, set())


class UnreadablePlatform(FakeAdapter):
    """A platform that cannot be read without credentials."""

    async def find_post(self, request):
        return Unknown(reason="weibo_no_token")


@pytest.mark.long
async def test_an_unreadable_post_waits_for_two_people(scene):
    """An unreadable post stays submitted, and people are alerted with the reason.

    Two of them may confirm that it is published.
    """
    blind = UnreadablePlatform(now=scene.runtime.now)
    scene.adapters = {A: blind}
    await scene.report()
    await scene.run_on(minutes=150, step=timedelta(minutes=5))
    assert ((await scene.now()).state, await scene.alerts()) == (
        State.SUBMITTED,
        {"manual_task_uncheckable"},
    )
    ruled = await resolve_delivery(
        scene.store,
        await scene.now(),
        Resolution.PUBLISHED,
        by=named_person("li"),
        reason="seen",
        url=URL,
        second_person="wang",
    )
    assert (ruled.state, ruled.receipt.is_manually_confirmed, ruled.verified_at) == (
        State.PUBLISHED,
        True,
        None,
    )


async def test_f26_a_limited_readback_leaves_a_task_open(scene):
    """F26: a task stays open while its account may not be read.

    It is read when the limit is over.
    """
    scene.fake.findings.append(
        RateLimited(code="often", until=scene.runtime.now() + timedelta(minutes=30))
    )
    await scene.post_by_hand()
    await scene.report()
    await scene.run_on(minutes=29)
    assert ((await scene.now()).state, await scene.alerts()) == (State.SUBMITTED, set())
    await scene.run_on(minutes=10)
    assert (await scene.now()).state is State.PUBLISHED


@pytest.mark.long
async def test_open_tasks_are_alerted_twice_and_then_held(scene):
    """Reminders come at half time and half an hour before the end; then comes a hold.

    The hold does not come after the two hours of a review.
    """
    reported = {}
    for _ in range(24 * 6):
        await scene.run_on(minutes=10, step=timedelta(minutes=10))
        for code in await scene.alerts():
            reported.setdefault(code, scene.runtime.now() - START_TIME)
    minutes = {
        code: round(when / timedelta(minutes=1)) for code, when in reported.items()
    }
    assert minutes == {
        "manual_task_waiting": 10,
        "manual_task_half_time": 720,
        "manual_task_expiring": 1410,
        "held.manual_task_unreported": 1440,
    }
    assert ((await scene.now()).state, scene.fake.calls) == (State.HELD, [])


async def test_a_cancelled_task_is_not_listed(scene):
    """It is not listed any more, and somebody must confirm that it was not posted."""
    await scene.actions.cancel_post(PostId("p"), LI, "not wanted")
    await scene.run_jobs()
    assert (await scene.tasks.list_open(), (await scene.now()).reason) == (
        [],
        "manual_task_unreported",
    )
    ruled = await resolve_delivery(
        scene.store,
        await scene.now(),
        Resolution.CANCEL,
        by=named_person("li"),
        reason="not posted",
    )
    assert ruled.state is State.CANCELLED


async def test_a_cancelled_task_that_was_reported_is_still_verified(scene):
    """A post that a person made meanwhile is published.

    People are asked whether to delete it.
    """
    await scene.post_by_hand()
    await scene.report()
    await scene.actions.cancel_post(PostId("p"), LI, "not wanted")
    await scene.run_jobs()
    assert ((await scene.now()).state, await scene.alerts()) == (
        State.PUBLISHED,
        {"published_after_cancellation"},
    )


async def test_a_task_is_retracted_once_it_is_found(scene):
    """A retraction of a task finds the person's post and deletes it."""
    await scene.post_by_hand()
    await scene.actions.retract(PostId("p"), None, LI, "wrong")
    await scene.run_on(minutes=10)
    assert ((await scene.now()).state, scene.fake.posts) == (State.RETRACTED, {})


@pytest.mark.long
async def test_a_task_to_be_retracted_ends_by_a_persons_confirmation_only(scene):
    """A task to be retracted ends only by a confirmation from its person.

    Lists cannot show that a person will not post any more.
    """
    await scene.actions.retract(PostId("p"), None, LI, "wrong")
    await scene.run_on(minutes=60)
    assert (await scene.now()).state is State.RETRACTING
    with pytest.raises(RefusedError):
        await resolve_delivery(
            scene.store,
            await scene.now(),
            Resolution.RESEND,
            by=named_person("li"),
            reason="no",
        )
    ruled = await resolve_delivery(
        scene.store,
        await scene.now(),
        Resolution.CANCEL,
        by=named_person("li"),
        reason="never posted",
    )
    assert ruled.state is State.RETRACTED


async def test_a_report_without_an_open_task_is_refused(scene):
    """Only an open task can be reported."""
    await scene.post_by_hand()
    await scene.report()
    await scene.run_jobs()
    with pytest.raises(RefusedError) as refused:
        await scene.report()
    assert refused.value.code == "no_open_manual_task"


async def test_a_task_is_never_sent_by_the_interface_as_well(scene):
    """Switched to automatic, an open task stays manual.

    Taken back by a resolution, it is sent, once.
    """
    await scene.switch(Mode.API)
    await scene.run_on(minutes=120, step=timedelta(minutes=10))
    assert (scene.fake.calls, len(await scene.tasks.list_open())) == ([], 1)
    await resolve_delivery(
        scene.store,
        await scene.now(),
        Resolution.RESEND,
        by=named_person("li"),
        reason="not posted",
    )
    await scene.run_jobs()
    assert (
        (await scene.now()).state,
        len(scene.fake.posts),
        await scene.tasks.list_open(),
    ) == (
        State.PUBLISHED,
        1,
        [],
    )


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "first", [None, *(pytest.param(mode, marks=pytest.mark.long) for mode in Mode)]
)
@pytest.mark.parametrize("order", list(permutations(Mode)), ids="-".join)
async def test_any_order_of_modes_around_the_instant_gives_one_post_or_one_task(
    open_store, runtime, order, first
):
    """A due post is neither lost nor doubled by any switch of modes at any time."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    await enqueue_posts(
        scene.store.posts,
        make_post("p", ["a"], START_TIME + timedelta(seconds=6), expires_at=DAY),
    )
    await scene.switch(first)
    for mode in order:
        await scene.run_on(minutes=1 / 20, step=timedelta(seconds=3))
        await scene.switch(mode)
        await scene.run_jobs()
    await scene.switch(order[0] if order[-1] is Mode.OFF else order[-1])
    await scene.run_on(minutes=2, step=timedelta(seconds=5))
    delivery, tasks = await scene.now(), await scene.tasks.list_open()
    assert len(scene.fake.posts) + len(tasks) == 1
    assert (delivery.attempts, delivery.state) == (
        1,
        State.SUBMITTED if tasks else State.PUBLISHED,
    )


async def test_an_account_that_is_off_keeps_what_is_due_until_it_is_back(
    open_store, runtime
):
    """Nothing is claimed while it is off; back in time, the post is sent."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    await scene.switch(Mode.OFF)
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.run_on(minutes=20)
    assert ((await scene.now()).state, await scene.store.outbox.next_due_at()) == (
        State.DUE,
        None,
    )
    await scene.switch(None)
    await scene.run_jobs()
    assert ((await scene.now()).state, len(scene.fake.calls)) == (State.PUBLISHED, 1)


async def test_an_account_that_stays_off_lets_posts_expire_with_an_alert(
    open_store, runtime
):
    """People are alerted to expired posts."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    await scene.switch(Mode.OFF)
    await enqueue_posts(
        scene.store.posts,
        make_post("p", ["a"], START_TIME, expires_at=START_TIME + timedelta(hours=1)),
    )
    await scene.run_on(minutes=61)
    assert ((await scene.now()).state, await scene.alerts()) == (
        State.EXPIRED,
        {"expired.expired"},
    )


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.ASSISTED])
async def test_an_unknown_outcome_is_resolved_by_reading_in_any_mode(
    open_store, runtime, mode
):
    """A post with a lost reply is found although the account has been switched meanwhile."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    scene.fake.script.append(scene.fake.lose_reply)
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.run_jobs()
    await scene.switch(mode)
    await scene.run_on(minutes=5)
    assert (
        (await scene.now()).state,
        len(scene.fake.posts),
        await scene.tasks.list_open(),
    ) == (
        State.PUBLISHED,
        1,
        [],
    )


async def test_an_absent_call_becomes_a_task_where_people_post_now(open_store, runtime):
    """A call that is proved to have left nothing is repeated in the mode that holds then."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    scene.fake.script.append(Unknown(reason="timeout"))
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.run_jobs()
    await scene.switch(Mode.ASSISTED)
    await scene.run_on(minutes=15)
    assert (
        len(scene.fake.calls),
        len(await scene.tasks.list_open()),
        (await scene.now()).attempts,
    ) == (1, 1, 2)


async def test_f44_manual_posts_use_no_quota(open_store, runtime):
    """F44: manual posts leave the day's quota to publisher, once it posts there again."""
    quota = RateLimit(min_interval=timedelta(minutes=1), per_hour=1, per_day=1)
    policy = replace(policy_in_mode(Mode.ASSISTED), rate_limit=quota)
    scene = ManualScene(await open_store(policy), runtime)
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.run_jobs()
    await scene.post_by_hand()
    await scene.report()
    await scene.run_jobs()
    await scene.switch(Mode.API)
    await enqueue_posts(
        scene.store.posts, make_post("q", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.run_on(minutes=2)
    [checkup] = await scene.store.login_health.list_accounts()
    assert (len(scene.fake.calls), checkup.quota_left) == (1, 0)


async def test_no_call_starts_after_the_switch(open_store, runtime):
    """The last check before a call fails once the account is not automatic any more."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.store.maintenance.promote_due()
    [lease] = await scene.store.outbox.claim(1)
    request = await scene.store.outbox.record_intent(lease)
    assert await scene.store.outbox.may_still_send(request)
    await scene.switch(Mode.ASSISTED)
    assert not await scene.store.outbox.may_still_send(request)


async def test_a_claim_made_before_the_switch_obeys_it(open_store, runtime):
    """The mode may change between claim and intent: the intent checks again."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.store.maintenance.promote_due()
    [lease] = await scene.store.outbox.claim(1)
    await scene.switch(Mode.OFF)
    assert (await scene.store.outbox.record_intent(lease)).guard == "paused"
    await scene.switch(Mode.ASSISTED)
    await scene.run_on(minutes=1)
    assert (scene.fake.calls, len(await scene.tasks.list_open())) == ([], 1)


async def test_tasks_cause_no_cooldown_of_a_login(open_store, runtime):
    """A manual task is no call: several tasks of one login wait at once."""
    scene = ManualScene(await open_store(policy_in_mode(Mode.ASSISTED)), runtime)
    await enqueue_posts(
        scene.store.posts,
        *(
            make_post(name, ["a"], START_TIME, expires_at=DAY)
            for name in ("p", "q", "r")
        ),
    )
    await scene.run_jobs()
    assert len(await scene.tasks.list_open()) == 3


@pytest.mark.long
async def test_a_platforms_own_ticket_is_followed_up_by_the_platform(
    open_store, runtime
):
    """A submission from before the switch is followed up by its ticket.

    This is within the time of a review.
    """
    scene = ManualScene(await open_store(policy_in_mode(Mode.API)), runtime)
    scene.fake.script.append(
        Submitted(ticket=Ticket(payload="none"), check_again_at=START_TIME)
    )
    await enqueue_posts(
        scene.store.posts, make_post("p", ["a"], START_TIME, expires_at=DAY)
    )
    await scene.run_jobs()
    await scene.switch(Mode.ASSISTED)
    await scene.run_on(minutes=130, step=timedelta(minutes=5))
    assert ((await scene.now()).state, (await scene.now()).reason) == (
        State.HELD,
        "review_timeout",
    )


class Reviewing(FakeAdapter):
    """A platform with its own list showing a thread before anybody else sees it."""

    async def find_post(self, request):
        found = [
            key for key, held in self.posts.items() if held.marker == request.marker
        ]
        ticket = Ticket(payload=found[0] if found else "none")
        return Submitted(ticket=ticket, check_again_at=self.now())

    async def list_recent(self):
        return [
            ObservedPost(
                remote_id=key,
                url=URL,
                published_at=self.now(),
                text=held.rendered.text[:20],
            )
            for key, held in self.posts.items()
        ]


async def test_a_post_that_only_the_account_sees_stays_a_task(scene):
    """A thread in review is no proof yet; once anybody sees it, it is published."""
    reviewing = Reviewing(now=scene.runtime.now)
    scene.adapters = {A: reviewing}
    await scene.report()
    await scene.run_on(minutes=5)
    delivery = await scene.now()
    assert (delivery.state, delivery.manual_task.reported_by) == (State.SUBMITTED, "li")
    scene.fake = reviewing
    await scene.post_by_hand()
    await scene.run_on(minutes=10)
    assert (await scene.now()).state is State.PUBLISHED
