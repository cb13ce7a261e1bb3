"""Drafts are their user's own, small, and written seldom; a user's uploads are bounded."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.errors import NoSuchItemError, RefusedError
from publisher.domain.post import PostImage
from publisher.domain.user import parse_grant
from publisher.engine.decisions import named_person
from publisher.store.people import drafts
from publisher.store.people.drafts import (
    MAX_DRAFT_BYTES,
    MAX_DRAFTS_PER_USER,
    UPLOAD_GRACE,
    delete_old_drafts,
    delete_old_uploads,
)
from publisher.testing.builders import enqueue_posts, make_post
from publisher.testing.fakes import START_TIME

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ADMIN = named_person("管")


@pytest.fixture
async def store(open_store):
    return await open_store()


async def test_nobody_else_sees_changes_or_deletes_a_draft(store):
    """For another user there is no such draft."""
    draft = await store.drafts.create("王", "王的", post="p")
    store.runtime.advance_time(timedelta(seconds=4))
    with pytest.raises(NoSuchItemError):
        await store.drafts.get(draft.id, "李")
    with pytest.raises(NoSuchItemError):
        await store.drafts.change(draft.id, "李", "李的")
    await store.drafts.delete(draft.id, "李")
    assert await store.drafts.list("李") == []
    assert [
        (found.id, found.content, found.post) for found in await store.drafts.list("王")
    ] == [(draft.id, "王的", "p")]


async def test_a_page_makes_one_draft_and_none_after_it_is_deleted(store):
    """The id of another user's draft is no id for one's own."""
    draft = await store.drafts.create("王", "一", draft_id="page-of-wang")
    again = await store.drafts.create("王", "一二", draft_id="page-of-wang")
    assert (again.id, draft.id) == ("page-of-wang", "page-of-wang")
    assert [found.content for found in await store.drafts.list("王")] == ["一二"]
    other = await store.drafts.create("李", "别人的", draft_id="page-of-wang")
    assert other.id != draft.id
    await store.drafts.delete(draft.id, "王")
    with pytest.raises(NoSuchItemError):
        await store.drafts.create("王", "一二三", draft_id="page-of-wang")


async def test_a_draft_is_written_once_in_three_seconds(store):
    """A write that comes sooner changes nothing; the next one has its text as well."""
    draft = await store.drafts.create("王", "一")
    store.runtime.advance_time(timedelta(seconds=2))
    assert await store.drafts.change(draft.id, "王", "一二") is None
    assert (await store.drafts.get(draft.id, "王")).content == "一"
    store.runtime.advance_time(timedelta(seconds=2))
    assert await store.drafts.change(draft.id, "王", "一二三") == store.runtime.now()
    assert (await store.drafts.get(draft.id, "王")).content == "一二三"


async def test_a_draft_has_64_kb_and_a_user_so_many_drafts(store):
    """Nobody can fill the disk by typing."""
    draft = await store.drafts.create("王", "字" * (MAX_DRAFT_BYTES // 3))
    with pytest.raises(RefusedError, match="draft_too_big"):
        await store.drafts.create("王", "x" * (MAX_DRAFT_BYTES + 1))
    with pytest.raises(RefusedError, match="draft_too_big"):
        await store.drafts.change(draft.id, "王", "字" * MAX_DRAFT_BYTES)
    for _ in range(MAX_DRAFTS_PER_USER - 1):
        await store.drafts.create("王", "")
    with pytest.raises(RefusedError, match="draft_too_many"):
        await store.drafts.create("王", "")
    assert (await store.drafts.create("李", "")).content == ""


async def test_the_draft_deleted_last_comes_back_within_a_day(store):
    """Only its user restores the last deleted draft, within a day; nobody sees it meanwhile.

    A second click deletes no more than the first.
    """
    older, draft = (
        await store.drafts.create("王", "一"),
        await store.drafts.create("王", "二"),
    )
    await store.drafts.delete(older.id, "王")
    await store.drafts.delete(draft.id, "王")
    await store.drafts.delete(draft.id, "王")
    with pytest.raises(NoSuchItemError):
        await store.drafts.restore(older.id, "王")
    assert list(await store.drafts.list("王")) == []
    with pytest.raises(NoSuchItemError):
        await store.drafts.restore(draft.id, "李")
    await store.drafts.restore(draft.id, "王")
    assert await store.drafts.get(draft.id, "王") == draft
    await store.drafts.delete(draft.id, "王")
    await store.database.write(
        delete_old_drafts, store.runtime.now() + timedelta(days=2)
    )
    with pytest.raises(NoSuchItemError):
        await store.drafts.restore(draft.id, "王")


async def test_who_leaves_leaves_no_drafts(store):
    """Off-boarding deletes them with the sign-ins."""
    await store.users.add("管", [parse_grant("admin")], ADMIN)
    await store.users.add("王", [parse_grant("author")], ADMIN)
    await store.drafts.create("王", "没写完")
    await store.users.leave("王", [], ADMIN)
    assert await store.drafts.list("王") == []


async def test_uploads_are_counted_for_a_day(store, monkeypatch):
    """A picture uploaded twice counts once; the daily limit is per user.

    The next day there is room again.
    """
    monkeypatch.setattr(drafts, "MAX_UPLOADED_BYTES_PER_DAY", 100)
    for _ in range(2):
        await store.uploads.record("王", "media/2026-11-0123456789ab.png", 60)
    with pytest.raises(RefusedError, match="upload_too_much"):
        await store.uploads.require_room("王", 41)
    await store.uploads.require_room("王", 40)
    await store.uploads.require_room("李", 100)
    store.runtime.advance_time(timedelta(days=1, seconds=1))
    await store.uploads.require_room("王", 100)


async def test_pictures_that_something_names_leave_room_for_others(store, monkeypatch):
    """Pictures named by a draft, a stored post or the schedule in force leave room for others.

    After their time uploads are forgotten.
    """
    names = [f"media/2026-11-{number:012x}.png" for number in range(4)]
    monkeypatch.setattr(drafts, "MAX_UNUSED_UPLOADS", 4)
    for name in names:
        await store.uploads.record("王", name, 1)
    with pytest.raises(RefusedError, match="upload_too_many"):
        await store.uploads.require_room("王", 1)
    await store.drafts.create("李", f'{{"image_file": ["{names[0]}"]}}')
    post = replace(
        make_post("p", [next(iter(store.policies))], START_TIME),
        images=(PostImage(file=names[1], alt="x"),),
    )
    await enqueue_posts(store.posts, post, text=f'images = ["{names[2]}"]')
    assert await store.uploads.find_used() == set(names[:3])
    await store.uploads.require_room("王", 1)
    store.runtime.advance_time(UPLOAD_GRACE + timedelta(seconds=1))
    await store.database.write(delete_old_uploads, store.runtime.now())
    monkeypatch.setattr(drafts, "MAX_UNUSED_UPLOADS", 1)
    await store.uploads.require_room("王", 1)
