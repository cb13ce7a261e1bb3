"""Approvals in the store: nothing leaves without every approval of its chain.

The approvals cover exactly the bytes sent.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert, literal, select, update

from publisher.domain.account import AccountId
from publisher.domain.alert_classes import Urgency, classify
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import Actor, Role, State
from publisher.domain.errors import ApprovalError, RefusedError
from publisher.domain.kinds import PostKind
from publisher.domain.plan import Plan, RemovedTargets
from publisher.domain.post import OneTimeTrigger, PostId, SendRequest
from publisher.domain.results import NotSent
from publisher.domain.user import UserState, parse_grant
from publisher.engine.checkpoints import (
    CheckpointTargets,
    append_checkpoint,
    void_authority_if_older,
    write_checkpoint,
)
from publisher.store.db.alert_tables import ALERT
from publisher.store.db.approval_tables import APPROVAL
from publisher.store.db.tables import SERVER_TIMELINE
from publisher.store.deliveries.intents import Declined
from publisher.store.people.users import NewSignIn
from publisher.store.plan.posts import PlanCommit
from publisher.store.recovery.backup import RecoveredIntents, finish_restore
from publisher.testing.builders import (
    enqueue_posts,
    make_policy,
    make_post,
    make_rendered_delivery,
    unlimited_approver,
)
from publisher.testing.fakes import START_TIME

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
FIRST, LAST = Stage(name="first"), Stage(name="last")
RULES = ApprovalRules(by_kind={"warning": (FIRST, LAST)})
POST = make_post("p", ["a", "b"], START_TIME + HOUR)
P = PostId("p")


def person(name):
    return Actor(role=Role.PERSON, name=name)


async def plan_post(open_store, post=POST, rules=RULES):
    """Open a store under these rules, and plan a post."""
    store = replace(
        await open_store(make_policy("a"), make_policy("b"), make_policy("c")),
        approval_rules=rules,
    )
    await enqueue_posts(store.posts, post)
    return store


async def approve(store, name, fingerprint=None, post=P):
    """Say yes to the content as it is, or to a named one."""
    shown = fingerprint or (await store.approvals.tasks(post))[0].status.fingerprint
    approver = unlimited_approver(name)
    return await store.approvals.approve(post, shown, approver, person(name))


async def approve_all(store, post=P):
    for name in ("li", "wang"):
        await approve(store, name, post=post)


async def try_to_send(store):
    """Run maintenance, record the intents that the guards allow, and return their accounts."""
    await store.maintenance.run()
    answers = [
        await store.outbox.record_intent(lease)
        for lease in await store.outbox.claim(10)
    ]
    return sorted(
        answer.account for answer in answers if isinstance(answer, SendRequest)
    )


async def edit(store, post):
    draft = make_rendered_delivery(post, post.trigger.at, is_new=False)
    commit = PlanCommit(
        plan=Plan(planned=(draft.planned,)),
        rendered=[draft],
        posts=[post],
        file_owner="ops",
    )
    await store.posts.commit_plan(commit)


async def test_i5_a_post_waits_at_its_time_until_every_stage_has_approved_it(
    open_store,
):
    """F72: a post waits at its time with its reason until the last approval.

    The last approval within `max_delay` sends it to both accounts.
    """
    store = await plan_post(open_store)
    await approve(store, "li")
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []
    waiting = await store.queries.deliveries(P)
    assert {(item.state, item.reason) for item in waiting} == {
        (State.PENDING, "awaiting_approval")
    }
    store.runtime.advance_time(20 * MINUTE)
    await approve(store, "wang")
    assert await try_to_send(store) == ["a", "b"]


async def test_i6_a_post_that_nobody_approves_expires_with_an_alert(open_store):
    """People hear of it a day before its time, and again when it has become too late."""
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME + 25 * HOUR))
    await store.maintenance.run()
    assert await store.queries.alerts() == []
    store.runtime.advance_time(HOUR + MINUTE)
    await store.maintenance.run()
    assert [
        (alert.code, alert.facts["stages"]) for alert in await store.queries.alerts()
    ] == [("approval_needed", "first、last")]
    store.runtime.advance_time(24 * HOUR)
    assert await try_to_send(store) == []
    store.runtime.advance_time(31 * MINUTE)
    await store.maintenance.run()
    [delivery] = await store.queries.deliveries(P)
    assert (delivery.state, delivery.reason) == (State.EXPIRED, "not_approved")
    store.runtime.advance_time(MINUTE)
    await store.maintenance.run()
    assert [alert.code for alert in await store.queries.alerts()] == [
        "expired.not_approved"
    ]


async def test_a_post_of_tomorrow_that_was_written_today_raises_no_alert_before_its_last_hours(
    open_store,
):
    """A post filed less than a day ahead is reported two hours before its time.

    Its approvers had their time until then.
    """
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME + 20 * HOUR))
    store.runtime.advance_time(18 * HOUR - MINUTE)
    await store.maintenance.run()
    assert await store.queries.alerts() == []
    store.runtime.advance_time(MINUTE)
    await store.maintenance.run()
    assert [alert.code for alert in await store.queries.alerts()] == ["approval_needed"]


async def test_an_urgent_post_without_approvals_calls_people_by_night(open_store):
    """In its last two hours the alert of an urgent post is an urgent one; an approval ends it."""
    post = replace(make_post("p", ["a"], START_TIME + 25 * HOUR), is_urgent=True)
    store = await plan_post(open_store, post)
    store.runtime.advance_time(2 * HOUR)
    await store.maintenance.run()
    assert await alert_codes(store) == ["approval_needed"]
    store.runtime.advance_time(21 * HOUR)
    await store.maintenance.run()
    assert await alert_codes(store) == ["urgent_approval_needed"]
    assert classify("urgent_approval_needed").urgency is Urgency.URGENT
    query = select(ALERT.c.is_settled).where(ALERT.c.code == "approval_needed")
    # the post still waits: nobody is notified that the first alert is over
    assert await store.database.read_scalar(query)
    await approve_all(store)
    assert await alert_codes(store) == []
    query = select(ALERT.c.is_settled).where(ALERT.c.code == "urgent_approval_needed")
    assert not await store.database.read_scalar(query)


async def test_f72_a_yes_can_be_ended_until_the_intent(open_store):
    """An approval ended after the claim stops the call; a later approval sends it."""
    store = await plan_post(open_store)
    await approve_all(store)
    store.runtime.advance_time(HOUR)
    await store.maintenance.run()
    leases = await store.outbox.claim(10)
    result = await store.approvals.unapprove(P, None, person("li"), "wrong number")
    assert (result.approvals, result.sent_before) == (2, 0)
    assert [await store.outbox.record_intent(lease) for lease in leases] == [
        Declined(guard="not_approved")
    ] * 2
    assert {item.state for item in await store.queries.deliveries(P)} == {State.PENDING}
    await approve_all(store)
    assert await try_to_send(store) == ["a", "b"]


async def test_what_is_sent_already_is_reported_when_a_yes_is_ended(open_store):
    """Ending an approval reports the calls already made.

    Of two accounts one has been called. Its call is counted, and the other account waits. With
    nothing left to stop, the order is an error.
    """
    store = await plan_post(open_store)
    await approve_all(store)
    store.runtime.advance_time(HOUR)
    await store.maintenance.run()
    first, second = await store.outbox.claim(10)
    await store.outbox.record_intent(first)
    assert (
        await store.approvals.unapprove(P, None, person("li"), "wrong")
    ).sent_before == 1
    assert await store.outbox.record_intent(second) == Declined(guard="not_approved")
    await approve_all(store)
    assert await try_to_send(store) == [second.account]
    assert (await store.approvals.unapprove(P, None, person("li"), "wrong")).is_too_late


async def test_f72_a_call_that_sent_nothing_is_not_repeated_once_its_yes_is_ended(
    open_store,
):
    """It is too late to stop the call, as the answer says, but there is no second one."""
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME))
    await approve_all(store)
    await store.maintenance.run()
    [lease] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    result = await store.approvals.unapprove(P, None, person("li"), "wrong number")
    assert (result.is_too_late, result.sent_before) == (True, 1)
    await store.outbox.record_outcome(lease, NotSent(reason="cannot_connect"))
    store.runtime.advance_time(5 * MINUTE)
    assert await try_to_send(store) == []
    await approve_all(store)
    store.runtime.advance_time(2 * MINUTE)
    assert await try_to_send(store) == ["a"]


async def test_f69_an_edit_ends_every_yes(open_store):
    """Each edit ends every approval, even an edit back to the approved text."""
    store = await plan_post(open_store)
    await approve_all(store)
    shown = (await store.approvals.tasks(P))[0].status.fingerprint
    await edit(store, replace(POST, title="警惕“退款”诈骗", content_hash="other"))
    with pytest.raises(ApprovalError, match="approval_changed"):
        await approve(store, "li", shown)
    await edit(store, POST)
    [task] = await store.approvals.tasks(P)
    assert (task.status.fingerprint, len(task.status.missing), task.is_edit) == (
        shown,
        2,
        True,
    )
    assert task.file_owner == "ops"
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []


async def test_an_edit_without_another_text_ends_every_yes(open_store):
    """An edit ends every approval even if the final text is the same.

    The text by staff has changed, so nobody has approved the new one.
    """
    store = await plan_post(open_store)
    await approve_all(store)
    await edit(store, replace(POST, content_hash="other"))
    [task] = await store.approvals.tasks(P)
    assert [missing.stage.name for missing in task.status.missing] == ["first", "last"]
    assert [line.event for line in await store.queries.audit_history("p")][
        -1
    ] == "changed_outside"


async def test_i4_a_yes_covers_the_bytes_of_every_account(open_store):
    """An account added or removed after an approval needs new approvals for all accounts.

    This also holds when the change is taken back.
    """
    store = await plan_post(open_store)
    await approve_all(store)
    added = make_rendered_delivery(
        replace(POST, accounts=(AccountId("c"),)), START_TIME + HOUR
    )
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(planned=(added.planned,)), rendered=[added])
    )
    assert len((await store.approvals.tasks(P))[0].status.missing) == 2
    gone = RemovedTargets(key=added.planned.occurrence.key, accounts=(AccountId("c"),))
    await store.posts.commit_plan(PlanCommit(plan=Plan(removed_targets=(gone,))))
    assert len((await store.approvals.tasks(P))[0].status.missing) == 2
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []


async def test_i5_author_and_those_who_saved_the_text_do_not_count(open_store):
    """The author and all savers of the text are barred, in any spelling of their names.

    The author is also barred at the intent, if the schedule names another author by then.
    """
    store = await plan_post(open_store)
    for name in ("zhang", " ＺＨＡＮＧ "):
        with pytest.raises(ApprovalError, match="approval_barred"):
            await approve(store, name)
    await edit(store, replace(POST, content_hash="by ops"))
    with pytest.raises(ApprovalError, match="approval_barred"):
        await approve(store, "ops")
    await approve_all(store)
    renamed = replace(POST, author="li", content_hash="by ops")
    await store.posts.commit_plan(PlanCommit(plan=Plan(), posts=[renamed]))
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []


async def test_i5_nobody_approves_twice_in_one_chain(open_store):
    """The second approval by one person in a chain is refused, in any spelling of the name."""
    store = await plan_post(open_store)
    await approve(store, "li")
    with pytest.raises(ApprovalError, match="approval_given_already"):
        await approve(store, "LI")
    assert [
        missing.stage for missing in (await store.approvals.tasks(P))[0].status.missing
    ] == [LAST]


def naming(checker, **changes):
    """Return the post with a text that names a checker."""
    return replace(POST, data={"checker": checker}, content_hash=checker, **changes)


async def test_i5_the_named_checker_gives_the_last_approval(open_store):
    """Nobody else gives the last approval, and the checker gives no earlier one."""
    store = await plan_post(open_store, naming("wang"))
    with pytest.raises(ApprovalError, match="approval_checker_is_last"):
        await approve(store, "wang")
    await approve(store, "li")
    with pytest.raises(ApprovalError, match="approval_named_checker"):
        await approve(store, "chen")
    await approve(store, " ＷＡＮＧ ")
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == ["a", "b"]


async def test_an_earlier_approval_that_was_ended_can_be_given_again(open_store):
    """The checker's own stays, and another person gives the missing one."""
    store = await plan_post(open_store, naming("wang"))
    await approve_all(store)
    await store.approvals.unapprove(P, None, person("li"), "x", of="li")
    await approve(store, "chen")
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == ["a", "b"]


async def test_i5_two_people_of_the_last_stage_include_the_named_checker(open_store):
    """The last of them is the checker unless the checker was there before."""
    rules = ApprovalRules(by_kind={"warning": (replace(LAST, people=2),)})
    store = await plan_post(open_store, naming("wang"), rules)
    await approve(store, "li")
    with pytest.raises(ApprovalError, match="approval_named_checker"):
        await approve(store, "chen")
    await approve(store, "wang")
    await edit(store, naming("wang", title="警惕“退款”诈骗"))
    await approve_all(store)
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == ["a", "b"]


async def test_i5_another_checker_than_the_seen_one_takes_new_approvals(open_store):
    """The checker is changed between the view of a person and the approval: it is refused."""
    store = await plan_post(open_store, naming("wang"))
    await approve(store, "li")
    shown = (await store.approvals.tasks(P))[0].status.fingerprint
    await edit(store, naming("chen", title="警惕“退款”诈骗"))
    with pytest.raises(ApprovalError, match="approval_changed"):
        await approve(store, "wang", shown)
    await approve(store, "li")
    with pytest.raises(ApprovalError, match="approval_named_checker"):
        await approve(store, "wang")
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []


async def test_a_changed_kind_is_judged_by_the_chain_of_its_text(open_store):
    """An approval of a warning is none for the same words as a bulletin.

    The bulletin needs the approvals of its own kind.
    """
    rules = ApprovalRules(default=(FIRST,), by_kind={"warning": (FIRST, LAST)})
    store = await plan_post(open_store, rules=rules)
    await approve_all(store)
    await edit(store, replace(POST, kind=PostKind.BULLETIN, content_hash="bulletin"))
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []
    await approve(store, "li")
    assert await try_to_send(store) == ["a", "b"]


async def test_a_kind_edited_after_a_part_was_sent_is_approved_for_each_chain(
    open_store,
):
    """An account added with another kind needs only that kind's chain; the others keep theirs."""
    rules = ApprovalRules(default=(LAST,), by_kind={"warning": (FIRST, LAST)})
    store = await plan_post(open_store, rules=rules)
    await approve_all(store)
    store.runtime.advance_time(HOUR)
    await store.maintenance.run()
    [sent] = await store.outbox.claim(1)
    await store.outbox.record_intent(sent)
    post = replace(
        POST,
        kind=PostKind.BULLETIN,
        content_hash="bulletin",
        accounts=(AccountId("c"),),
    )
    added = make_rendered_delivery(post, START_TIME + HOUR)
    commit = PlanCommit(
        plan=Plan(planned=(added.planned,)), rendered=[added], posts=[post]
    )
    await store.posts.commit_plan(commit)
    assert await try_to_send(store) == []
    assert [
        (task.accounts, task.status.chain) for task in await store.approvals.tasks(P)
    ] == [
        (["a", "b"], (FIRST, LAST)),
        (["c"], (LAST,)),
    ]
    await approve_all(store)
    assert await try_to_send(store) == ["b"]
    store.runtime.advance_time(MINUTE)
    assert "approval_needed" in await alert_codes(store)
    await approve(store, "wang")
    assert await try_to_send(store) == ["c"]
    assert "approval_needed" not in await alert_codes(store)


@pytest.mark.parametrize(
    "chain", [(FIRST,), (LAST,), (FIRST, LAST, Stage(name="more"))]
)
async def test_yeses_of_another_chain_do_not_count(open_store, chain):
    """After the settings change the chain, the same people must approve again.

    This holds for fewer stages and for more.
    """
    store = await plan_post(open_store)
    await approve_all(store)
    changed = replace(store, approval_rules=ApprovalRules(by_kind={"warning": chain}))
    store.runtime.advance_time(HOUR)
    assert await try_to_send(changed) == []
    assert len((await changed.approvals.tasks(P))[0].status.missing) == len(chain)
    for name in ("li", "wang", "chen")[: len(chain)]:
        await approve(changed, name)
    assert await try_to_send(changed) == ["a", "b"]


async def test_a_post_due_when_approved_is_not_late_before(open_store):
    """`asap`: the due time and the allowed delay begin with the last approval.

    That may be hours after the post was saved.
    """
    post = replace(make_post("p", ["a"], START_TIME), trigger=OneTimeTrigger(at=None))
    store = replace(await open_store(make_policy("a")), approval_rules=RULES)
    draft = make_rendered_delivery(post, START_TIME)
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(planned=(draft.planned,)), rendered=[draft], posts=[post])
    )
    for _ in range(5):
        assert await try_to_send(store) == []
        store.runtime.advance_time(HOUR)
    await approve_all(store)
    [delivery] = await store.queries.deliveries(P)
    assert delivery.due_at == START_TIME + 5 * HOUR
    assert await try_to_send(store) == ["a"]


@pytest.mark.parametrize("end", ["disable", "reset", "change", "leave"])
async def test_what_a_leaver_has_approved_does_not_count(open_store, end):
    """Disabling, resetting, leaving or losing a role ends a person's approvals of unsent posts.

    It ends no other approvals.
    """
    store = await plan_post(open_store)
    admin = await store.users.add("root", [parse_grant("admin")], person("root"))
    await store.users.add("Li", [parse_grant("approver")], person("root"))
    assert admin
    await approve_all(store)
    await store.users.activate(admin, NewSignIn(password_hash="x"), person)
    match end:
        case "disable":
            await store.users.disable("Li", person("root"))
        case "reset":
            await store.users.reset("Li", person("root"))
        case "change":
            more = [parse_grant("approver"), parse_grant("viewer")]
            await store.users.change_grants("Li", more, person("root"))
            assert (await store.approvals.tasks(P))[0].status.is_approved
            await store.users.change_grants("Li", more[1:], person("root"))
        case _:
            await store.duty.add("Li", person("root"))
            await store.users.leave("Li", [], person("root"))
    assert await store.duty.officers() == []
    assert [
        missing.stage for missing in (await store.approvals.tasks(P))[0].status.missing
    ] == [FIRST]
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []


@pytest.mark.parametrize("end", ["disable", "leave"])
async def test_what_a_person_asked_a_second_one_to_confirm_ends_with_the_person(
    open_store, end
):
    """Only requests of a disabled or departed person end.

    An audit entry names the delivery.
    """
    store = await plan_post(open_store)
    link = await store.users.add("root", [parse_grant("admin")], person("root"))
    await store.users.activate(link, NewSignIn(password_hash="x"), person)
    await store.users.add("Li", [parse_grant("operator")], person("root"))
    mine, other = await store.queries.deliveries(P)
    for delivery, name in ((mine, "Li"), (other, "wang")):
        await store.actions.request_confirmation(
            delivery.id, "https://a.example/1", person(name), "seen"
        )
    if end == "disable":
        await store.users.disable("Li", person("root"))
    else:
        await store.users.leave("Li", [], person("root"))
    assert await store.actions.confirmation_request(mine.id) is None
    assert await store.actions.confirmation_request(other.id) is not None
    events = [
        line.event for line in await store.queries.audit_history(f"p@{mine.account}")
    ]
    assert events[-1] == "confirmation_request_ended"


async def test_who_is_disabled_is_off_duty(open_store):
    """A disabled person leaves the duty list, and must be added again after being enabled.

    The list shows only people that one can call.
    """
    store = await plan_post(open_store)
    link = await store.users.add("root", [parse_grant("admin")], person("root"))
    await store.users.activate(link, NewSignIn(password_hash="x"), person)
    await store.users.add("Li", [parse_grant("approver")], person("root"))
    await store.duty.add("Li", person("root"))
    await store.users.disable("Li", person("root"))
    await store.users.enable("Li", person("root"))
    assert await store.duty.officers() == []
    assert [line.event for line in await store.queries.audit_history("user:Li")][
        -3:
    ] == [
        "duty_removed",
        "user_disabled",
        "user_enabled",
    ]


async def test_f85_a_restored_database_asks_nobody_to_confirm(open_store):
    """A restored database asks nobody to confirm a request.

    It may lack a withdrawal by the first person.
    """
    store = await plan_post(open_store)
    delivery, _other = await store.queries.deliveries(P)
    await store.actions.request_confirmation(
        delivery.id, "https://a.example/1", person("li"), "seen"
    )
    none_lost = RecoveredIntents(records=())
    await store.database.write(
        finish_restore, store, none_lost, None, [], person("root")
    )
    assert await store.actions.confirmation_request(delivery.id) is None
    events = [
        line.event
        for line in await store.queries.audit_history(f"p@{delivery.account}")
    ]
    assert "confirmation_request_ended" in events


async def test_f85_a_restored_database_counts_no_yes_and_no_sign_in(open_store):
    """A restored database voids all approvals and sign-ins, so all are needed again.

    It may lack that an approval was withdrawn, or that a user was disabled.
    """
    store = await plan_post(open_store)
    await store.users.add("root", [parse_grant("admin")], person("root"))
    await approve_all(store)
    none_lost = RecoveredIntents(records=())
    await store.database.write(
        finish_restore, store, none_lost, None, [], person("root")
    )
    await store.actions.resume("all", person("root"))
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []
    assert [item.reason for item in await store.queries.deliveries(P)] == [
        "awaiting_approval"
    ] * 2
    assert [user.state for user in await store.users.list()] == [UserState.SUSPENDED]
    codes = {alert.code for alert in await store.queries.alerts()}
    assert {"approvals_voided", "users_suspended"} <= codes


async def test_f85_a_restore_ends_approvals_of_posts_that_are_still_to_be_planned(
    open_store,
):
    """An approval that somebody put into a backup covers nothing, whatever it is for."""
    store = await plan_post(open_store)
    await approve_all(store)

    def plant(transaction):
        columns = [column for column in APPROVAL.c if column.name not in {"id", "post"}]
        planted = (
            select(literal("later"), *columns).where(APPROVAL.c.post == P).limit(1)
        )
        names = ["post", *(column.name for column in columns)]
        transaction.connection.execute(insert(APPROVAL).from_select(names, planted))

    await store.database.write(plant)
    assert await store.approvals.tasks(PostId("later")) == []
    none_lost = RecoveredIntents(records=())
    await store.database.write(
        finish_restore, store, none_lost, None, [], person("root")
    )
    in_force = select(APPROVAL.c.post).where(APPROVAL.c.ended_at.is_(None))
    assert await store.database.read(lambda one: one.scalars(in_force).all()) == []


async def test_f85_a_database_that_lacks_what_a_checkpoint_knows_counts_no_yes_and_no_sign_in(
    open_store, tmp_path
):
    """An older database copied into place voids all approvals and sign-ins, once.

    Approvals and sign-ins given after that count.
    """
    store = await plan_post(open_store)
    await store.users.add("root", [parse_grant("admin")], person("root"))
    await approve_all(store)
    targets = CheckpointTargets(file=tmp_path / "anchors.log")
    await void_authority_if_older(store.audit, targets)
    await write_checkpoint(store.audit, targets)
    await void_authority_if_older(store.audit, targets)
    assert (await store.approvals.tasks(P))[0].status.is_approved
    head = await store.audit.read_checkpoint()
    append_checkpoint(
        targets, replace(head, sequence=head.sequence + 9, hash="f" * 64), None
    )
    await void_authority_if_older(store.audit, targets)
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == []
    assert [user.state for user in await store.users.list()] == [UserState.SUSPENDED]
    await store.users.enable("root", person("root"))
    await approve_all(store)
    await write_checkpoint(store.audit, targets)
    await void_authority_if_older(store.audit, targets)
    assert [user.state for user in await store.users.list()] == [UserState.ENABLED]
    assert await try_to_send(store) == ["a", "b"]
    assert "audit_broken" in {alert.code for alert in await store.queries.alerts()}


async def release(store, *names, post=P):
    """Release the content in an emergency, by these officers on duty, including the author."""
    await store.users.add("root", [parse_grant("admin")], person("root"))
    for name in names:
        await release_by(store, name, post)


async def release_by(store, name, post=P):
    """Release the content in an emergency, by one officer on duty."""
    await store.duty.add(name, person("root"))
    [task] = await store.approvals.tasks(post)
    officer = unlimited_approver(name)
    await store.approvals.release_in_emergency(
        post, [task.content], officer, person(name), "flood"
    )


async def test_i5_an_emergency_release_makes_no_named_checker_untrue(open_store):
    """A text with a checker is not released; one that says so of the officers on duty is."""
    store = await plan_post(open_store, naming("wang"))
    with pytest.raises(ApprovalError, match="release_named_checker"):
        await release(store, "zhang")
    await edit(store, naming("值班放行", is_urgent=True))
    for name in ("zhang", "chen"):
        await release_by(store, name)
    store.runtime.advance_time(HOUR)
    assert await try_to_send(store) == ["a", "b"]
    await approve_all(store)
    [task] = await store.approvals.tasks(P)
    assert task.status.missing == []


async def alert_codes(store):
    await store.maintenance.run()
    return sorted(alert.code for alert in await store.queries.alerts())


async def test_the_review_after_an_emergency_is_overdue_after_a_day(open_store):
    """An emergency release is sent at once, and its overdue review alerts after 24 hours.

    There is no second alert before. Both alerts end with the last regular approval.
    """
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME))
    await release(store, "zhang", "chen")
    assert await try_to_send(store) == ["a"]
    store.runtime.advance_time(24 * HOUR - MINUTE)
    assert "after_review_overdue" not in await alert_codes(store)
    store.runtime.advance_time(2 * MINUTE)
    for _ in range(2):
        assert [code for code in await alert_codes(store) if "review" in code] == [
            "after_review_due",
            "after_review_overdue",
        ]
        store.runtime.advance_time(MINUTE)
    await approve_all(store)
    assert [code for code in await alert_codes(store) if "review" in code] == []


@pytest.mark.parametrize("change", ["edit", "unapprove", "unapprove and cancel"])
async def test_the_review_after_an_emergency_can_be_given_whatever_became_of_the_release(
    open_store, change
):
    """The regular approvals end the review alert even if the release itself was ended.

    Nobody can dismiss this alert.
    """
    store = await plan_post(open_store)
    await release(store, "zhang", "chen")
    if change == "edit":
        await edit(store, replace(POST, title="警惕“退款”诈骗", content_hash="other"))
    else:
        await store.approvals.unapprove(P, None, person("li"), "wrong")
    if change == "unapprove and cancel":
        await store.actions.cancel_post(P, person("li"), "wrong")
    assert "after_review_due" in await alert_codes(store)
    await approve_all(store)
    assert await alert_codes(store) == []
    assert [line.event for line in await store.queries.audit_history("p")].count(
        "after_review_done"
    ) == 1


async def test_the_review_after_an_emergency_can_be_dismissed_once_nothing_asks_for_it(
    open_store,
):
    """A review alert can be dismissed only once the settings ask for no regular approvals.

    Without approvals no approval could ever end the alert.
    """
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME))
    await release(store, "zhang", "chen")
    [alert] = [
        item for item in await store.queries.alerts() if item.code == "after_review_due"
    ]
    assert not await store.actions.dismiss_alert(alert.id, person("root"))
    without = replace(store, approval_rules=ApprovalRules())
    assert await without.actions.dismiss_alert(alert.id, person("root"))
    store.runtime.advance_time(25 * HOUR)
    assert [code for code in await alert_codes(without) if "review" in code] == []


async def test_half_a_release_of_what_has_expired_waits_for_nobody(open_store):
    """One officer alone has released nothing, so there is nothing to review."""
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME))
    await release(store, "zhang")
    store.runtime.advance_time(24 * HOUR)
    await store.maintenance.run()
    assert [item.state for item in await store.queries.deliveries(P)] == [State.EXPIRED]
    assert await store.approvals.tasks(P) == []


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
async def test_f87_a_server_that_took_over_counts_no_yes(open_store):
    """After a takeover no intent relies on an approval, and the next claim ends them all.

    The new server may lack the end of an approval.
    """
    store = await plan_post(open_store)
    await approve_all(store)
    store.runtime.advance_time(HOUR)
    await store.maintenance.run()
    leases = await store.outbox.claim(1)
    took_over = update(SERVER_TIMELINE).values(timeline="before")
    await store.database.write(lambda unit: unit.connection.execute(took_over))
    assert [await store.outbox.record_intent(lease) for lease in leases] == [
        Declined(guard="not_approved")
    ]
    assert await try_to_send(store) == []
    assert len((await store.approvals.tasks(P))[0].status.missing) == 2
    await approve_all(store)
    assert await try_to_send(store) == ["a", "b"]


async def test_hosts_with_other_rules_do_not_work_together(open_store):
    """Hosts with other approval rules do not work together; a change is in the audit.

    A host that asks for no approvals would send the posts that the other host holds back.
    """
    first = replace(await open_store(), approval_rules=RULES)
    assert await first.actions.register_worker()
    second = await open_store(worker="worker-2")
    with pytest.raises(RefusedError, match="approval_rules_differ"):
        await second.actions.register_worker()
    await first.actions.deregister_worker()
    assert await second.actions.register_worker()
    events = [line.event for line in await second.queries.audit_history("approvals")]
    assert events == ["approval_rules_changed"] * 2


@pytest.mark.parametrize(
    ("ahead", "is_sent"), [(HOUR, True), (HOUR + MINUTE, False), (-5 * HOUR, True)]
)
async def test_f101_approvals_hold_for_a_later_time_and_within_the_margin(
    open_store, ahead, is_sent
):
    """I5: a post moved forward by over an hour needs new approvals; a post put back keeps them.

    Its text is the same.
    """
    planned = START_TIME + 10 * HOUR
    store = await plan_post(open_store, make_post("p", ["a"], planned))
    await approve_all(store)
    await edit(store, make_post("p", ["a"], planned - ahead))
    store.runtime.advance_time(10 * HOUR - ahead)
    assert await try_to_send(store) == (["a"] if is_sent else [])
    if not is_sent:
        assert [
            missing.stage
            for missing in (await store.approvals.tasks(P))[0].status.missing
        ] == [FIRST, LAST]
        await edit(store, make_post("p", ["a"], planned))
        assert (await store.approvals.tasks(P))[0].status.is_approved


async def test_f101_a_post_moved_in_steps_is_compared_with_the_time_that_was_approved(
    open_store,
):
    """Twice fifty minutes are more than an hour; a new yes is for the new time."""
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME + 10 * HOUR))
    await approve_all(store)
    for step in (1, 2):
        await edit(
            store, make_post("p", ["a"], START_TIME + 10 * HOUR - step * 50 * MINUTE)
        )
    assert not (await store.approvals.tasks(P))[0].status.is_approved
    await approve_all(store)
    assert (await store.approvals.tasks(P))[0].status.is_approved


async def test_f101_what_a_person_sends_far_ahead_needs_its_approvals_again(open_store):
    """A post that a person sends far ahead of its time needs its approvals again.

    A change of its time in the schedule does the same. Nobody alone ends an embargo that others
    have approved.
    """
    store = await plan_post(
        open_store, make_post("p", ["a"], START_TIME + HOUR + MINUTE)
    )
    await approve_all(store)
    await store.actions.send_now(P, person("chen"))
    assert await try_to_send(store) == []
    await approve_all(store)
    assert await try_to_send(store) == ["a"]


async def test_what_a_person_sends_a_little_ahead_keeps_its_approvals(open_store):
    """An hour, as with a change in the schedule."""
    store = await plan_post(open_store, make_post("p", ["a"], START_TIME + HOUR))
    await approve_all(store)
    await store.actions.send_now(P, person("chen"))
    assert await try_to_send(store) == ["a"]
