"""The writers of any version of a post may not approve it, even if another person saved last."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import insert

from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import Actor, Role
from publisher.domain.errors import ApprovalError
from publisher.domain.plan import Plan
from publisher.domain.post import PostId
from publisher.i18n import Messages
from publisher.store.approvals.guard import end_approvals_of, void_approvals
from publisher.store.db.approval_tables import POST_SAVE
from publisher.store.people.saves import read_writers
from publisher.store.plan.posts import PlanCommit
from publisher.testing.builders import (
    make_policy,
    make_post,
    make_rendered_delivery,
    unlimited_approver,
)
from publisher.testing.fakes import START_TIME

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TWO = (Stage(name="audit", people=2),)
RULES = ApprovalRules(default=TWO)
POST = make_post("p", ["a"], START_TIME + 5 * HOUR)
P = PostId("p")
OPS = Actor(role=Role.PERSON, name="ops")


@pytest.fixture
async def store(open_store):
    """Yield a store that needs two approvals for every post, with one post by zhang."""
    store = replace(
        await open_store(make_policy("a"), make_policy("b")), approval_rules=RULES
    )
    await save(store, POST, is_new=True)
    return store


async def save(
    store, post, by=None, *, is_new=False, occurrence="once", file_owner=None
):
    """Let a person save a version of a post that is in force at once."""
    store.runtime.advance_time(MINUTE)
    draft = make_rendered_delivery(
        post, post.trigger.at, is_new=is_new, occurrence_id=occurrence
    )
    plan = Plan(planned=(draft.planned,))
    commit = PlanCommit(
        plan=plan, rendered=[draft], posts=[post], saved_by=by, file_owner=file_owner
    )
    await store.posts.commit_plan(commit)


def words(text, post=POST):
    """Return a post with another text."""
    return replace(post, title=text, content_hash=text)


def moved(post, by=HOUR):
    """Return a post at another time, with the new time in its text."""
    at = post.trigger.at + by
    dated = f"{post.title}, {at:%d %H:%M}"
    return replace(
        post, trigger=replace(post.trigger, at=at), title=dated, content_hash=dated
    )


async def approve(store, *people, post=P):
    for name in people:
        [task, *_others] = await store.approvals.tasks(post)
        approver = unlimited_approver(name)
        by = Actor(role=Role.PERSON, name=name)
        await store.approvals.approve(post, task.status.fingerprint, approver, by)


async def barred(store, post=P):
    [task, *_others] = await store.approvals.tasks(post)
    return sorted(task.status.barred)


async def test_i5_a_rewriter_may_not_approve_once_another_has_moved_the_date(store):
    """I5: a writer of the words stays barred after another's save; the refusal lists all barred."""
    await save(store, words("wang's"), "wang")
    await save(store, moved(words("wang's")), "chen")
    with pytest.raises(ApprovalError, match="approval_barred") as refused:
        await approve(store, "wang")
    assert refused.value.facts["writers"] == "chen、wang、zhang"


async def test_a_refusal_names_the_writers_and_the_command_that_says_who_may(store):
    """A refused occurrence is named by its own name; the command takes the post's id."""
    await save(
        store,
        make_post("q", ["b"], START_TIME + 6 * HOUR),
        "wang",
        is_new=True,
        occurrence="20261201T0900Z",
    )
    with pytest.raises(ApprovalError) as refused:
        await approve(store, "wang", post=PostId("q"))
    error, english = refused.value, Messages("en")
    assert english.translate(error.code, **error.facts).startswith(
        "wang wrote q#20261201T0900Z or saved it"
    )
    assert english.translate(error.code, **error.facts).endswith(
        "Who may not approve it: wang, zhang"
    )
    assert (
        Messages("zh_CN")
        .translate(error.code, **error.facts)
        .endswith("不能审批它的：wang、zhang")
    )
    assert english.hint(error.code, **error.facts).endswith("publisher approvals q")


async def test_i5_a_yes_that_was_given_before_the_words_became_ones_own_does_not_count(
    store,
):
    """I5: an approval is checked again at the intent, after its giver has saved the text.

    wang has saved the text that wang had approved, and another person has saved it since.
    """
    await approve(store, "wang")
    await save(store, replace(POST, target_hash="for other accounts"), "wang")
    await save(store, replace(POST, target_hash="for these accounts"), "chen")
    await approve(store, "li")
    [task] = await store.approvals.tasks(P)
    assert [yes.person for yes in task.status.counted] == ["li"]
    store.runtime.advance_time(5 * HOUR)
    await store.maintenance.run()
    assert await store.outbox.claim(10) == []


async def test_a_text_with_every_approval_is_everybodys(store):
    """Writers before a full approval may approve later texts; author and last saver may not."""
    await save(store, words("wang's"), "wang")
    await approve(store, "li", "zhao")
    assert await barred(store) == ["wang", "zhang"]
    await save(store, words("chen's"), "chen")
    assert await barred(store) == ["chen", "zhang"]
    await approve(store, "wang", "li")


async def test_one_yes_of_two_makes_no_text_everybodys(store):
    await save(store, words("wang's"), "wang")
    await approve(store, "li")
    await save(store, words("chen's"), "chen")
    assert await barred(store) == ["chen", "wang", "zhang"]


async def test_a_release_in_an_emergency_makes_no_text_everybodys(store):
    """Two officers have let it go; its chain has not approved it."""
    await save(store, words("wang's"), "wang")
    for name in ("zhang", "wang"):
        await store.duty.add(name, OPS)
        approver = unlimited_approver(name)
        [task] = await store.approvals.tasks(P)
        by = Actor(role=Role.PERSON, name=name)
        await store.approvals.release_in_emergency(
            P, [task.content], approver, by, "now"
        )
    [task] = await store.approvals.tasks(P)
    assert task.status.is_emergency
    await save(store, words("chen's"), "chen")
    assert await barred(store) == ["chen", "wang", "zhang"]


async def take_back(store):
    await store.approvals.unapprove(P, None, OPS, "a wrong number")


async def send_back(store):
    [task] = await store.approvals.tasks(P)
    await store.approvals.return_text(P, task.status.fingerprint, OPS, "a wrong number")


async def disable_one(store):
    await store.database.write(
        lambda unit: end_approvals_of(
            unit, store.runtime.now(), "zhao", OPS, "user_disabled"
        )
    )


async def void_all(store):
    await store.database.write(
        lambda unit: void_approvals(unit, store.runtime.now(), OPS, "restored")
    )


@pytest.mark.parametrize("withdraw", [take_back, send_back, disable_one, void_all])
async def test_what_people_take_back_is_the_writers_again(store, withdraw):
    """A withdrawn approval clears no writer, even with another save in between."""
    await save(store, words("wang's"), "wang")
    await approve(store, "li", "zhao")
    await save(
        store, replace(words("wang's"), target_hash="for other accounts"), "chen"
    )
    await withdraw(store)
    await save(store, words("sun's"), "sun")
    assert await barred(store) == ["chen", "sun", "wang", "zhang"]


async def test_words_are_cleared_only_where_people_have_seen_them(store):
    """Words unread in a template are not cleared there by an approval in another template.

    In the unread template the writers are barred.
    """
    await save(store, words("wang's"), "wang")
    await approve(store, "li", "zhao")
    await save(store, words("chen's"), "chen")
    assert await barred(store) == ["chen", "zhang"]
    await save(store, replace(words("wang's, all of them"), template="article"), "chen")
    assert await barred(store) == ["chen", "wang", "zhang"]
    await save(store, words("as before"), "chen")
    assert await barred(store) == ["chen", "zhang"]


async def test_approvals_of_an_earlier_text_clear_nobody(store):
    """A sent occurrence's approvals are for its own text, and clear no writer of a later text."""
    first = words("zhang's")
    await save(store, first)
    await approve(store, "li", "zhao")
    store.runtime.advance_time(5 * HOUR)
    await store.maintenance.run()
    [lease] = await store.outbox.claim(10)
    await store.outbox.record_intent(lease)
    later = replace(POST.trigger, at=store.runtime.now() + 9 * HOUR)
    await save(
        store,
        replace(words("wang's"), trigger=later),
        "wang",
        is_new=True,
        occurrence="later",
    )
    await save(
        store, replace(words("chen's"), trigger=later), "chen", occurrence="later"
    )
    tasks = {
        task.key.occurrence: task.status for task in await store.approvals.tasks(P)
    }
    assert sorted(tasks["later"].barred) == ["chen", "wang", "zhang"]


async def test_an_earlier_author_stays_barred(store):
    """Another name in the post does not make it another person's."""
    await save(store, replace(words("wang's"), author="wang"), "chen")
    assert await barred(store) == ["chen", "wang", "zhang"]


async def test_a_copy_by_hand_is_its_writers_too(store):
    """The same words under another number, in the place of the old post or beside it."""
    await save(store, words("wang's"), "wang")
    copy = replace(
        make_post("q", ["b"], START_TIME + 6 * HOUR), title="wang's", author="chen"
    )
    await save(store, copy, is_new=True, file_owner="ops")
    assert await barred(store, PostId("q")) == ["chen", "ops", "wang", "zhang"]


async def test_each_copy_by_hand_in_one_version_is_its_writers_too(store):
    """A version may bring several new posts with the words of one that it had before."""
    await save(store, words("wang's"), "wang")
    copies = [
        replace(make_post(name, ["b"], START_TIME + 6 * HOUR), title="wang's")
        for name in "qr"
    ]
    drafts = [
        make_rendered_delivery(post, post.trigger.at, is_new=True) for post in copies
    ]
    plan = Plan(planned=tuple(draft.planned for draft in drafts))
    await store.posts.commit_plan(
        PlanCommit(plan=plan, rendered=drafts, posts=copies, file_owner="ops")
    )
    found = [await barred(store, post.id) for post in copies]
    assert found == [["ops", "wang", "zhang"]] * 2


async def test_names_of_two_spellings_are_one_person(store):
    await save(store, words("wang's"), " ＷＡＮＧ ")
    await save(store, moved(words("wang's")), "chen")
    with pytest.raises(ApprovalError, match="approval_barred"):
        await approve(store, "wang")


async def test_f90_a_chain_of_copies_is_read_once(store):
    """F90: copies of copies, each saved twice, take a reading each, and keep the first writer."""
    names = [f"p{number}" for number in range(40)]
    rows = [
        {
            "at": START_TIME,
            "by": "李" if number else "王",
            "post": name,
            "body_sha256": "x",
            "text_sha256": f"{name}/{turn}",
            "base_version": 0,
            "base_sha256": "",
            "growth": 0,
            "copied_from": names[number - 1],
        }
        for number, name in enumerate(names)
        for turn in range(2)
    ]

    def write(transaction):
        transaction.connection.execute(insert(POST_SAVE), rows)
        return read_writers(store, transaction.connection, [names[-1]])

    found = await store.database.write(write)
    assert set(found[names[-1]].approved) == {"王", "李"}
