"""Live pages: what has changed is sent, once, to those who may see it."""

import asyncio
import re
from datetime import timedelta

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.user import parse_grant
from publisher.store.people.sign_ins import SESSION_IDLE_LIFETIME
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web.live import Viewer, renew_visitor
from publisher.web.site import Visitor
from publisher.web.today import row_element
from tests.web.conftest import ADMIN

BY = Actor(role=Role.PERSON, name="值班")


async def open_page(site, *grants):
    """Return a viewer of today, as its stream has it."""
    client = await site.signed_in(*grants)
    dashboard = site.app.state.site
    session_id = client.cookies["publisher_session"]
    session = await site.store.sign_ins.find_session(session_id)
    visitor = Visitor(site=dashboard, lang="zh_CN", session_id=session_id, session=session)
    day = site.runtime.now().astimezone(dashboard.settings.timezone).date()
    number = (await site.store.dashboard.frame_facts()).audit_number
    viewer = Viewer(site=dashboard, visitor=visitor, day=day, number=number)
    await viewer.next_frame(0)
    return viewer


async def next_frame(site, viewer, frame=1):
    site.runtime.advance_time(timedelta(seconds=1))
    return await viewer.next_frame(frame)


async def test_only_the_rows_that_have_changed_are_sent(site):
    """A change of one post sends its row, and nothing of another post; without a change nothing is sent."""
    account = next(iter(site.store.policies))
    at = site.runtime.now() + timedelta(minutes=5)
    await enqueue_posts(site.store.posts, make_post("p", [account], at), make_post("q", [account], at))
    await site.store.actions.register_worker()
    viewer = await open_page(site, "viewer")
    quiet = await next_frame(site, viewer)
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    changed = await next_frame(site, viewer)
    targets = re.findall(r'<hx-partial hx-target="#([\w-]+)"', changed)
    assert quiet == ""
    assert targets == [row_element(OccurrenceKey(post=PostId("p"), occurrence="once"))]


async def test_a_pause_reaches_every_open_page(site):
    """The banner of a pause appears, and goes, without a reload."""
    await site.store.actions.register_worker()
    viewer = await open_page(site, "viewer")
    await site.store.actions.pause("all", BY, "演练")
    paused = await next_frame(site, viewer)
    await site.store.actions.resume("all", BY)
    resumed = await next_frame(site, viewer)
    assert 'data-testid="banner-paused"' in paused
    assert '<div id="banner" role="status"></div>' in resumed


async def test_who_loses_a_region_gets_no_more_of_it(site):
    """An open page has the roles of the moment, not those with which it was opened."""
    account = AccountId("beijing-weibo")
    at = site.runtime.now() + timedelta(minutes=5)
    await enqueue_posts(site.store.posts, make_post("p", [account], at))
    viewer = await open_page(site, "viewer@beijing-weibo")
    await site.store.users.change_grants("viewer", [parse_grant("viewer@shanghai-weibo")], ADMIN)
    is_signed_in = await renew_visitor(viewer)
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    assert is_signed_in
    assert row_element(OccurrenceKey(post=PostId("p"), occurrence="once")) not in await next_frame(site, viewer)


async def test_a_page_that_asks_by_itself_does_not_keep_its_user_signed_in(site):
    """Only what a person does counts as use of a session."""
    client = await site.signed_in("viewer")
    for _ in range(2):
        site.runtime.advance_time(SESSION_IDLE_LIFETIME * 0.6)
        answer = await client.get("/today", headers={"hx-request": "true"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


async def test_something_new_to_do_does_not_move_the_list(site):
    """What newly waits for the visitor is announced by a line; the sentence on top changes in place."""
    account = AccountId(next(iter(site.store.policies)))
    await site.store.actions.register_worker()
    viewer = await open_page(site, "operator")
    await site.store.actions.pause(f"account:{account}", BY, "密码被改")
    frame = await next_frame(site, viewer, frame=5)
    assert 'hx-target="#verdict"' in frame
    assert "有 1 件事要您处理" in frame
    assert 'hx-target="#news"' in frame


async def test_a_row_is_rendered_once_for_all(site, monkeypatch):
    """Fifty viewers who may see the same cost one rendering of the row."""
    account = next(iter(site.store.policies))
    await enqueue_posts(site.store.posts, make_post("p", [account], site.runtime.now() + timedelta(minutes=5)))
    await site.store.actions.register_worker()
    first = await open_page(site, "viewer")
    viewers = [
        first,
        *(Viewer(site=first.site, visitor=first.visitor, day=first.day, number=first.number) for _ in range(49)),
    ]
    read = []
    board = site.store.dashboard.board

    async def counted(*arguments):
        read.append(arguments)
        return await board(*arguments)

    monkeypatch.setattr(site.store.dashboard, "board", counted)
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    site.runtime.advance_time(timedelta(seconds=1))
    frames = await asyncio.gather(*(viewer.next_frame(1) for viewer in viewers))
    assert len(read) == 1
    assert all("row-" in frame for frame in frames)
