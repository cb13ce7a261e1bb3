"""The content of a plan, and that nothing is left to do once it was carried out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import AccountId
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.kinds import PostKind
from publisher.domain.plan import (
    Plan,
    PlannedDeliveries,
    PlanWindow,
    StoredOccurrence,
    StoredPost,
    plan,
)
from publisher.domain.post import (
    DEFAULT_LIFETIME,
    ONCE_OCCURRENCE,
    CronTrigger,
    OneTimeTrigger,
    Post,
    PostId,
    Schedule,
)

NOW = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOW = PlanWindow(now=NOW, until=NOW + timedelta(days=2))
A, B, C = (AccountId(name) for name in ("a", "b", "c"))


def make_post(*, when: datetime | None = NOW + HOUR, **changes: Any) -> Post:
    return replace(
        Post(
            id=PostId("p"),
            kind=PostKind.WARNING,
            template="warning",
            author="zhang",
            title="…",
            trigger=OneTimeTrigger(at=when),
            accounts=(A, B),
            content_hash="1",
        ),
        **changes,
    )


def repeating(**changes: Any) -> Post:
    return make_post(trigger=CronTrigger(text="0 9 * * *"), **changes)


def reported(
    post: Post,
    known: Mapping[PostId, StoredPost],
    *moments: datetime,
    window: PlanWindow = WINDOW,
) -> Plan:
    return plan(Schedule(posts=(post,)), known, window, {post.id: moments})


def done(
    known: Mapping[PostId, StoredPost], schedule: Schedule, what: Plan
) -> dict[PostId, StoredPost]:
    """Return the stored posts once a plan was written."""
    recorded = dict(known)
    for post in schedule.posts:
        held = recorded.get(post.id) or StoredPost(
            content_hash=post.content_hash, active_since=NOW
        )
        recorded[post.id] = replace(
            held, content_hash=post.content_hash, is_scheduled=True
        )
    for planned in what.planned:
        recorded[planned.post.id] = add_planned(recorded[planned.post.id], planned)
    for lost in what.removed_targets:
        held = recorded[lost.key.post].occurrences[lost.key.occurrence]
        rest = replace(held, open_accounts=held.open_accounts - set(lost.accounts))
        recorded[lost.key.post] = with_occurrence(
            recorded[lost.key.post], lost.key.occurrence, rest
        )
    for dropped in what.removed_posts:
        recorded[dropped] = replace(recorded[dropped], is_scheduled=False)
    return recorded


def add_planned(recorded: StoredPost, planned: PlannedDeliveries) -> StoredPost:
    before = recorded.occurrences.get(planned.occurrence.key.occurrence)
    after = StoredOccurrence(
        due_at=planned.occurrence.due_at,
        content_hash=planned.post.content_hash,
        accounts=frozenset(planned.accounts)
        | (before.accounts if before else frozenset()),
        has_started=before.has_started if before else False,
        open_accounts=frozenset(planned.accounts)
        | (before.open_accounts if before else frozenset()),
    )
    return with_occurrence(recorded, planned.occurrence.key.occurrence, after)


def with_occurrence(
    recorded: StoredPost, label: str, occurrence: StoredOccurrence
) -> StoredPost:
    return replace(recorded, occurrences={**recorded.occurrences, label: occurrence})


def stored(
    post: Post,
    *,
    due_at: datetime = NOW + HOUR,
    label: str = ONCE_OCCURRENCE,
    **changes: Any,
) -> dict[PostId, StoredPost]:
    """Return the stored post with one occurrence, filed and unchanged."""
    occurrence = StoredOccurrence(
        due_at=due_at,
        content_hash=post.content_hash,
        accounts=frozenset(post.accounts),
        has_started=False,
        open_accounts=frozenset(post.accounts),
    )
    known = StoredPost(
        content_hash=post.content_hash, active_since=NOW - timedelta(days=30)
    )
    return {post.id: with_occurrence(known, label, replace(occurrence, **changes))}


def labels(what: Plan) -> list[str]:
    return [planned.occurrence.key.occurrence for planned in what.planned]


def test_a_new_one_off_is_filed_once_for_all_its_accounts():
    """A post that is not stored gives one planned occurrence, due at its instant, expiring a day later."""
    (planned,) = reported(make_post(), {}).planned
    assert planned.is_new
    assert (planned.accounts, planned.occurrence.due_at) == ((A, B), NOW + HOUR)
    assert planned.occurrence.expires_at == NOW + HOUR + DEFAULT_LIFETIME


def test_a_one_off_beyond_the_window_waits():
    """A post due after the window is not filed yet."""
    assert reported(make_post(when=WINDOW.until + HOUR), {}) == Plan()


def test_asap_is_due_when_filed_and_stays_there():
    """`asap` takes the instant of its first planning; a later run does not move it."""
    post = make_post(when=None)
    (planned,) = reported(post, {}).planned
    assert planned.occurrence.due_at == NOW
    later = PlanWindow(now=NOW + HOUR, until=WINDOW.until)
    assert reported(post, stored(post, due_at=NOW), window=later) == Plan()


def test_a_one_off_has_one_occurrence_whatever_its_instant():
    """Moving `at` before the first intent moves the occurrence and files no second one."""
    post = make_post(when=NOW + 2 * HOUR)
    (planned,) = reported(post, stored(post)).planned
    assert not planned.is_new
    assert (planned.occurrence.key.occurrence, planned.occurrence.due_at) == (
        ONCE_OCCURRENCE,
        NOW + 2 * HOUR,
    )


def test_moving_after_the_first_intent_is_refused():
    """A new `at` is a problem and changes nothing once a delivery has had an attempt.

    The same holds if no delivery is left to move.
    """
    post = make_post(when=NOW + 2 * HOUR)
    for changes in (
        {"has_started": True},
        {"has_started": True, "open_accounts": frozenset()},
    ):
        what = reported(post, stored(post, **changes))
        assert [problem.code for problem in what.left_out] == ["moved_after_start"]
        assert not what.planned


def test_an_edit_revises_only_open_deliveries():
    """A new text goes to open deliveries, not to sent ones."""
    post = make_post(content_hash="2")
    known = stored(make_post(), open_accounts=frozenset({B}))
    (planned,) = reported(post, known).planned
    assert (planned.accounts, planned.is_new) == ((B,), False)


def test_an_added_account_is_filed_and_the_others_revised():
    """A wider `to` files the new account and gives the others the new content hash."""
    what = reported(
        make_post(accounts=(A, B, C), content_hash="2"), stored(make_post())
    )
    assert [(planned.accounts, planned.is_new) for planned in what.planned] == [
        ((C,), True),
        ((A, B), False),
    ]


def test_a_removed_account_is_not_sent_to():
    """An account removed from `to` is named as untargeted, if its delivery can be stopped."""
    (lost,) = reported(
        make_post(accounts=(A,), content_hash="2"), stored(make_post())
    ).removed_targets
    assert (lost.key.occurrence, lost.accounts) == (ONCE_OCCURRENCE, (B,))


def put_back(due: datetime, **changes: Any) -> tuple[Post, dict[PostId, StoredPost]]:
    """Return a post that has left the schedule and is back, with its stored, cancelled state."""
    post = make_post(when=due)
    known = stored(
        post,
        due_at=due,
        open_accounts=frozenset(),
        restorable_accounts=frozenset({A, B}),
    )
    occurrence = replace(known[post.id].occurrences[ONCE_OCCURRENCE], **changes)
    return post, {
        post.id: with_occurrence(
            replace(known[post.id], is_scheduled=False), ONCE_OCCURRENCE, occurrence
        )
    }


@pytest.mark.parametrize(
    ("ago", "restored", "codes"),
    [(-60, [(A, B)], []), (29, [(A, B)], []), (31, [], ["restored_too_late"])],
    ids=["ahead", "in time", "too late"],
)
def test_f100_a_post_that_comes_back_is_restored_while_it_could_still_be_sent(
    ago, restored, codes
):
    """A post that left the schedule comes back if it is still in time.

    A half-saved file can remove a post. Too late, it is left out and named.
    """
    post, known = put_back(NOW - timedelta(minutes=ago))
    what = reported(post, known)
    assert [(planned.accounts, planned.is_new) for planned in what.planned] == [
        (one, False) for one in restored
    ]
    assert [problem.code for problem in what.left_out] == codes
    assert what.left_out_posts == ({post.id} if codes else set())


def test_f100_what_was_called_stays_cancelled_and_keeps_no_other_back():
    """An account that was called before the post left the schedule is named.

    The other account comes back.
    """
    post, known = put_back(
        NOW + HOUR,
        restorable_accounts=frozenset({B}),
        cancelled_accounts=frozenset({A}),
        has_started=True,
    )
    what = reported(post, known)
    assert [planned.accounts for planned in what.planned] == [(B,)]
    assert [(problem.code, problem.facts["subject"]) for problem in what.left_out] == [
        ("restored_after_call", "p@a")
    ]
    assert not what.left_out_posts


@pytest.mark.parametrize(
    ("content", "restored"), [("1", []), ("0", [(A, B)])], ids=["not edited", "edited"]
)
def test_f100_what_has_expired_comes_back_by_an_edit_alone(content, restored):
    """A corrected `expires` brings a delivery back; time alone, or a wrong clock, does not."""
    expired = {A: content, B: content}
    known = stored(
        make_post(),
        open_accounts=frozenset(),
        content_hash="",
        expired_accounts=expired,
    )
    what = reported(make_post(), known)
    assert [planned.accounts for planned in what.planned] == restored


def test_f100_a_follow_up_comes_back_with_its_original():
    """A follow-up that was cancelled for want of its original comes back with it.

    It is restored only on accounts that get the original again.
    """
    original, known = put_back(NOW + HOUR, restorable_accounts=frozenset({A}))
    update = make_post(id=PostId("u"), follows=original.id)
    known |= stored(
        update, open_accounts=frozenset(), orphaned_accounts=frozenset({A, B})
    )
    what = plan(Schedule(posts=(update, original)), known, WINDOW, {})
    assert [(planned.post.id, planned.accounts) for planned in what.planned] == [
        ("p", (A,)),
        ("u", (A,)),
    ]
    assert not plan(Schedule(posts=(update,)), known, WINDOW, {}).planned


@pytest.mark.parametrize("due_in", [1, -30], ids=["in time", "too late"])
def test_f100_an_edited_follow_up_comes_back_as_it_was_taken_over(due_in):
    """An edited follow-up is over only if it is too late for it.

    A follow-up left out as over is not sent with its new text.
    """
    original, known = put_back(NOW + HOUR, restorable_accounts=frozenset({A}))
    due = NOW + due_in * HOUR
    update = make_post(id=PostId("u"), follows=original.id, when=due)
    known |= stored(
        update, due_at=due, open_accounts=frozenset(), orphaned_accounts=frozenset({A})
    )
    known[update.id] = replace(known[update.id], accepted=update)
    edited = replace(update, content_hash="2", target_hash="new")
    what = plan(Schedule(posts=(edited, original)), known, WINDOW, {})
    follow_ups = [
        planned.accounts for planned in what.planned if planned.post.id == update.id
    ]
    assert (follow_ups, what.left_out_posts) == (
        ([(A,)], set()) if due_in > 0 else ([], {update.id})
    )


def test_f100_nothing_comes_back_of_a_follow_up_that_is_left_out():
    """A follow-up moved into the past keeps its text and place.

    This holds also when its original comes back.
    """
    original, known = put_back(NOW + HOUR, restorable_accounts=frozenset({A}))
    update = make_post(id=PostId("u"), follows=original.id)
    known |= stored(update, open_accounts=frozenset(), orphaned_accounts=frozenset({A}))
    known[update.id] = replace(known[update.id], accepted=update)
    moved = replace(update, trigger=OneTimeTrigger(at=NOW - 5 * HOUR), content_hash="2")
    what = plan(Schedule(posts=(moved, original)), known, WINDOW, {})
    assert ([planned.post.id for planned in what.planned], what.left_out_posts) == (
        ["p"],
        {update.id},
    )


def test_f100_of_a_repeating_post_an_older_order_stays_ended():
    """An older order of a repeating post stays ended, as a newer order is in its place.

    An older published order, as of an evergreen post, is not in its place.
    """
    post, (older, newer) = (
        repeating(),
        ("2026-11-25T00:00:00.000001+00:00", "2026-11-25T00:30:00.000001+00:00"),
    )
    for name, other, is_back in ((older, newer, False), (newer, older, True)):
        lost = {"open_accounts": frozenset(), "restorable_accounts": frozenset({A})}
        known = stored(post, due_at=NOW, label=name, **lost)
        known = {
            post.id: replace(known[post.id], live_deliveries=frozenset({(other, A)}))
        }
        assert bool(reported(post, known).planned) is is_back


def test_a_cancelled_post_is_never_filed_again():
    """A cancelled post stays cancelled while it is in the file, edited or not."""
    known = {
        PostId("p"): StoredPost(content_hash="1", active_since=NOW, is_cancelled=True)
    }
    assert reported(make_post(content_hash="2"), known) == Plan()


def test_a_removed_post_is_dropped_once():
    """A post removed from the file is dropped once.

    Cancelled and already dropped posts are not dropped again.
    """
    known = stored(make_post())
    empty = Schedule(posts=())
    what = plan(empty, known, WINDOW, {})
    assert what.removed_posts == (PostId("p"),)
    assert plan(empty, done(known, empty, what), WINDOW, {}) == Plan()
    withdrawn = {PostId("p"): replace(known[PostId("p")], is_cancelled=True)}
    assert plan(empty, withdrawn, WINDOW, {}) == Plan()


def test_a_repeating_post_is_filed_for_each_instant_of_the_window():
    """Every instant from now to the end of the window is an occurrence under its own name."""
    moments = [NOW, NOW + HOUR, WINDOW.until, WINDOW.until + HOUR]
    assert labels(reported(repeating(), {}, *moments)) == [
        moment.isoformat() for moment in moments[:3]
    ]


def test_of_missed_instants_only_the_newest_is_filed_ever():
    """After a downtime the newest missed instant is made up for; later runs file no older ones."""
    post, moments = repeating(), [NOW - 3 * HOUR, NOW - 2 * HOUR, NOW - HOUR]
    known = {post.id: StoredPost(content_hash="1", active_since=NOW - 4 * HOUR)}
    what = reported(post, known, *moments)
    assert labels(what) == [moments[-1].isoformat()]
    assert (
        reported(post, done(known, Schedule(posts=(post,)), what), *moments) == Plan()
    )


def test_a_cron_edit_does_not_fire_for_the_past():
    """An edit that puts an instant of the new timing into the past does not file it."""
    known = {PostId("p"): StoredPost(content_hash="1", active_since=NOW - 24 * HOUR)}
    assert reported(repeating(content_hash="2"), known, NOW - HOUR) == Plan()


def test_an_account_that_joins_a_repeating_post_is_not_sent_the_past():
    """A new account is filed for instants to come only."""
    moments = [NOW - HOUR, NOW + HOUR]
    known = stored(
        repeating(),
        due_at=moments[0],
        label=moments[0].isoformat(),
        open_accounts=frozenset(),
    )
    (planned,) = reported(
        repeating(accounts=(A, B, C), content_hash="2"), known, *moments
    ).planned
    assert planned.occurrence.due_at == moments[1]


def test_instants_of_an_earlier_timing_are_untargeted():
    """Future instants that the new timing lacks are untargeted; past ones stay as they are."""
    for post, label in (
        (repeating(content_hash="2"), (NOW + HOUR).isoformat()),
        (make_post(content_hash="2", when=NOW + 3 * HOUR), (NOW + HOUR).isoformat()),
        (repeating(content_hash="2"), ONCE_OCCURRENCE),
    ):
        (lost,) = reported(
            post, stored(post, label=label), NOW + 2 * HOUR
        ).removed_targets
        assert (lost.key.occurrence, lost.accounts) == (label, (A, B))
        assert not reported(
            post, stored(post, label=label, due_at=NOW - HOUR), NOW + 2 * HOUR
        ).removed_targets


@pytest.mark.parametrize(("delay", "codes"), [(29, []), (31, ["moved_into_past"])])
def test_f101_a_filed_post_is_not_moved_to_a_time_that_is_too_late(delay, codes):
    """A new time within `max_delay` means now; beyond it the post stays as it is filed.

    The same holds where nothing is filed yet.
    """
    past = make_post(when=NOW - timedelta(minutes=delay), target_hash="new")
    what = reported(past, stored(make_post()))
    assert ([problem.code for problem in what.left_out], bool(what.planned)) == (
        codes,
        not codes,
    )
    far = make_post(when=NOW + 30 * 24 * HOUR)
    unfiled = {far.id: StoredPost(content_hash="1", active_since=NOW, accepted=far)}
    assert [problem.code for problem in reported(past, unfiled).left_out] == codes


def test_a_time_that_passed_during_an_outage_is_no_slip():
    """A post that came due during an outage is planned, to expire with an alert.

    It was stored, and beyond the window before the outage.
    """
    past = make_post(when=NOW - 5 * HOUR)
    known = {past.id: StoredPost(content_hash="1", active_since=NOW - 24 * HOUR)}
    assert len(reported(past, known).planned) == 1
    assert reported(past, stored(past, due_at=NOW - 5 * HOUR)) == Plan()


NEEDS_APPROVAL = replace(
    WINDOW, approval_rules=ApprovalRules(default=(Stage(name="only"),))
)


@pytest.mark.parametrize(
    ("due_in", "window", "changes", "is_moved"),
    [
        (HOUR, WINDOW, {}, True),
        (-HOUR, WINDOW, {}, False),
        (-HOUR, NEEDS_APPROVAL, {}, True),
        (-HOUR, NEEDS_APPROVAL, {"is_due_when_approved": True}, False),
        (HOUR, WINDOW, {"has_started": True}, False),
    ],
)
def test_f101_asap_on_a_planned_post_means_now(due_in, window, changes, is_moved):
    """With `asap`, a post that waits for its time or its approvals is due now.

    A post that was filed that way keeps its time.
    """
    what = reported(
        make_post(when=None),
        stored(make_post(), due_at=NOW + due_in, **changes),
        window=window,
    )
    assert [planned.occurrence.due_at for planned in what.planned] == (
        [NOW] if is_moved else []
    )
    assert not what.left_out


@pytest.mark.parametrize(
    ("due_in", "changes", "is_added"),
    [
        (HOUR, {}, True),
        (timedelta(minutes=-1), {}, False),
        (timedelta(0), {}, False),
        (HOUR, {"has_started": True}, False),
        (-HOUR, {"is_due_when_approved": True, "awaits_approval": True}, True),
        (-HOUR, {"is_due_when_approved": True}, False),
    ],
)
def test_an_added_account_gets_only_what_is_to_come(due_in, changes, is_added):
    """An added account gets no due post and no post with a possible call.

    The post may have come due just now, and the call may be for another account. A person must ask
    for it.
    """
    known = stored(make_post(), due_at=NOW + due_in, **changes)
    what = reported(make_post(when=NOW + due_in, accounts=(A, B, C)), known)
    assert [planned.accounts for planned in what.planned] == (
        [(C,)] if is_added else []
    )
    assert [late.accounts for late in what.late_accounts] == (
        [] if is_added else [(C,)]
    )


def test_years_of_posts_say_nothing_of_a_new_account():
    """Of finished posts, only an edit of `to` is answered.

    A new account in the settings concerns none of them.
    """
    over = stored(
        make_post(), due_at=NOW - 48 * HOUR, open_accounts=frozenset(), is_finished=True
    )
    joined = make_post(when=NOW - 48 * HOUR, accounts=(A, B, C), target_hash="new")
    assert reported(joined, over) == Plan()
    edited = {
        joined.id: replace(over[joined.id], accepted=make_post(when=NOW - 48 * HOUR))
    }
    what = reported(joined, edited)
    assert ([late.accounts for late in what.late_accounts], what.left_out) == (
        [(C,)],
        (),
    )


ENDED = CronTrigger(text="0 9 * * *", until=NOW - HOUR)


@pytest.mark.parametrize(
    ("now", "before", "is_problem"),
    [
        ({"content_hash": "2"}, {}, True),
        ({"trigger": OneTimeTrigger(at=NOW + 9 * HOUR)}, {}, True),
        ({"trigger": OneTimeTrigger(at=None)}, {}, True),
        ({"accounts": (A,)}, {}, False),
        ({"content_hash": "2", "trigger": ENDED}, {"trigger": ENDED}, True),
        (
            {"content_hash": "2", "trigger": ENDED},
            {"trigger": CronTrigger(text="0 9 * * *")},
            False,
        ),
    ],
)
def test_an_edit_of_a_post_that_is_over_is_no_silence(now, before, is_problem):
    """A new text, a new time or a reused id of a finished post is a problem.

    The end of a repeating post, or the loss of an account, is none.
    """
    due = NOW - 5 * HOUR
    filed = replace(make_post(when=due), **before)
    label = due.isoformat() if before else ONCE_OCCURRENCE
    known = stored(
        filed, due_at=due, label=label, open_accounts=frozenset(), has_started=True
    )
    known = {filed.id: replace(known[filed.id], accepted=filed)}
    what = reported(replace(filed, target_hash="new", **now), known)
    assert [problem.code for problem in what.left_out] == (
        ["edited_after_end"] if is_problem else []
    )
    cancelled = {filed.id: replace(known[filed.id], is_cancelled=True)}
    what = reported(replace(filed, target_hash="new", **now), cancelled)
    assert [problem.code for problem in what.left_out] == (
        ["edited_after_end"] if is_problem else []
    )


@pytest.mark.parametrize(
    ("ended", "due_in", "code"),
    [
        ({"expired_accounts": {A: "1", B: "1"}}, 5 * HOUR, None),
        ({"expired_accounts": {A: "1", B: "1"}}, -5 * HOUR, "edited_after_end"),
        ({"restorable_accounts": frozenset({A, B})}, 5 * HOUR, None),
        ({"restorable_accounts": frozenset({A, B})}, -5 * HOUR, "restored_too_late"),
    ],
)
def test_f100_what_was_never_called_is_over_only_once_it_is_too_late(
    ended, due_in, code
):
    """An edit that brings it back in time is none of a post that is over."""
    filed, due = make_post(when=NOW - 5 * HOUR), NOW - 5 * HOUR
    known = stored(filed, due_at=due, open_accounts=frozenset(), **ended)
    known = {filed.id: replace(known[filed.id], accepted=filed)}
    what = reported(
        make_post(when=NOW + due_in, content_hash="2", target_hash="new"), known
    )
    assert [problem.code for problem in what.left_out] == ([code] if code else [])
    assert bool(what.planned) is (code is None)


offsets = st.integers(-3, 3).map(lambda hours: NOW + hours * HOUR)
accounts = st.lists(st.sampled_from([A, B, C]), min_size=1, unique=True).map(tuple)
timings = st.one_of(
    st.builds(OneTimeTrigger, at=st.none() | offsets),
    st.just(CronTrigger(text="0 9 * * *")),
)
posts = st.builds(
    lambda name, timing, to, definition: make_post(
        id=PostId(name),
        trigger=timing,
        accounts=to,
        content_hash=f"{definition}{timing}{to}",
    ),
    st.sampled_from(["p", "q"]),
    timings,
    accounts,
    st.sampled_from(["1", "2"]),
)
schedules = st.lists(posts, max_size=2, unique_by=lambda post: post.id).map(
    lambda some: Schedule(posts=tuple(some))
)
instants = st.lists(offsets, max_size=4, unique=True).map(sorted)


@st.composite
def started(draw, known):
    """Return the same stored posts after some deliveries have had attempts and some have ended."""
    recorded = {}
    for post_id, held in known.items():
        occurrences = {
            label: replace(
                occurrence,
                has_started=draw(st.booleans()),
                open_accounts=frozenset(
                    account
                    for account in occurrence.open_accounts
                    if draw(st.booleans())
                ),
            )
            for label, occurrence in held.occurrences.items()
        }
        recorded[post_id] = replace(
            held, occurrences=occurrences, is_cancelled=draw(st.booleans())
        )
    return recorded


@given(schedules, schedules, instants, instants, st.data())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(
    first, second, before, after, data
):
    """A second plan after a carried-out plan writes nothing more, for any stored state."""
    moments = [
        {post.id: some for post in schedule.posts}
        for schedule, some in ((first, before), (second, after))
    ]
    known = done({}, first, plan(first, {}, WINDOW, moments[0]))
    known = data.draw(started(known))
    recorded = done(known, second, plan(second, known, WINDOW, moments[1]))
    changed = done(recorded, second, plan(second, recorded, WINDOW, moments[1]))
    again = plan(second, changed, WINDOW, moments[1])
    assert (again.planned, again.removed_targets, again.removed_posts) == ((), (), ())


@given(schedules, schedules, instants, st.data())
def test_no_delivery_is_filed_twice(first, second, moments, data):
    """A new planned occurrence never names an account that the occurrence already has."""
    by_post = {post.id: moments for post in (*first.posts, *second.posts)}
    known = data.draw(started(done({}, first, plan(first, {}, WINDOW, by_post))))
    for planned in plan(second, known, WINDOW, by_post).planned:
        recorded = known.get(planned.post.id)
        held = (
            recorded.occurrences.get(planned.occurrence.key.occurrence)
            if recorded
            else None
        )
        if planned.is_new and held:
            assert not held.accounts & set(planned.accounts)
        assert not (recorded and recorded.is_cancelled)
