"""One yes to a family is one transaction: it counts for every member, or for none."""

import asyncio
from dataclasses import replace

import pytest

from publisher.domain.errors import ApprovalError
from publisher.domain.post import PostId
from publisher.domain.user import parse_grant
from publisher.testing.builders import enqueue_posts, make_post, unlimited_approver
from publisher.testing.fakes import START_TIME
from tests.store.test_approvals import HOUR, edit, person, plan_post

NORTH, EAST = "p.110000", "p.310000"
ROUNDS = 5

pytestmark = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgres", marks=pytest.mark.extra)],
    indirect=True,
)


@pytest.fixture
async def store(open_store):
    """Return a store with a family of two members that wait for two approvals."""
    posts = [
        make_post(name, [account], START_TIME + HOUR)
        for name, account in ((NORTH, "a"), (EAST, "b"))
    ]
    store = await plan_post(open_store, posts[0])
    await enqueue_posts(store.posts, posts[1])
    return store


async def see(store):
    tasks = await store.approvals.tasks(PostId("p"))
    return [task.content for task in tasks]


async def approve(store, seen, name="li"):
    return await store.approvals.approve_members(
        "p", seen, unlimited_approver(name), person(name)
    )


async def count_given(store):
    tasks = await store.approvals.tasks(PostId("p"))
    return {task.key.post: len(task.status.counted) for task in tasks}


async def change(store):
    post = await store.posts.get_post(PostId(EAST))
    await edit(store, replace(post, title=f"{post.title}!"))


async def test_one_yes_is_recorded_for_each_member(store):
    """Each member gets an approval of its own content, so that an edit ends only its own."""
    done = await approve(store, await see(store))
    assert [task.key.post for task in done] == [NORTH, EAST]
    assert await count_given(store) == {NORTH: 1, EAST: 1}
    await change(store)
    assert await count_given(store) == {NORTH: 1, EAST: 0}


async def test_a_changed_member_refuses_the_whole_yes(store):
    """The error names the member, and nothing is recorded."""
    seen = await see(store)
    await change(store)
    with pytest.raises(ApprovalError, match="approval_changed") as refused:
        await approve(store, seen)
    assert refused.value.facts["post"] == EAST
    assert await count_given(store) == {NORTH: 0, EAST: 0}


async def test_a_member_that_was_approved_by_the_same_person_refuses_the_whole_yes(
    store,
):
    """The error names the member, and nothing is recorded."""
    seen = await see(store)
    await store.approvals.approve(
        PostId(EAST), seen[1].fingerprint, unlimited_approver("li"), person("li")
    )
    with pytest.raises(ApprovalError, match="approval_given_already") as refused:
        await approve(store, seen)
    assert refused.value.facts["post"] == EAST
    assert await count_given(store) == {NORTH: 0, EAST: 1}


async def release(store, seen, name):
    return await store.approvals.release_in_emergency(
        "p", seen, unlimited_approver(name), person(name), "flood"
    )


async def test_two_releases_send_all_members_or_none(store):
    """Two officers release a family as one; a change of a member refuses the whole release."""
    await store.users.add("root", [parse_grant("admin")], person("root"))
    for name in ("zhang", "li"):
        await store.duty.add(name, person("root"))
    await release(store, await see(store), "zhang")
    seen = await see(store)
    await change(store)
    with pytest.raises(ApprovalError, match="approval_changed") as refused:
        await release(store, seen, "li")
    assert refused.value.facts["post"] == EAST
    assert await count_released(store) == {NORTH: 1, EAST: 0}
    await release(store, [seen[0]], "li")
    with pytest.raises(ApprovalError, match="approval_complete"):
        await release(store, await see(store), "zhang")
    assert await count_released(store) == {NORTH: 2, EAST: 0}


async def count_released(store):
    tasks = await store.approvals.tasks(PostId("p"))
    return {
        task.key.post: sum(given.is_emergency for given in task.status.in_time)
        for task in tasks
    }


async def test_an_edit_and_a_yes_race(store):
    """Whichever comes first, a changed text has no approval, and no part of a yes counts."""
    for _ in range(ROUNDS):
        seen = await see(store)
        given, _edited = await asyncio.gather(
            approve(store, seen), change(store), return_exceptions=True
        )
        expected = 0 if isinstance(given, ApprovalError) else 1
        assert await count_given(store) == {NORTH: expected, EAST: 0}
        if expected:
            await store.approvals.unapprove(PostId(NORTH), None, person("li"), "again")
