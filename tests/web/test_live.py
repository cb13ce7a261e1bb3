"""Live pages: each change is sent, once, to the viewers with the permission."""

import asyncio
import re
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from sqlalchemy import update

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor, Role, State
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.results import CredentialExpired
from publisher.domain.user import parse_grant
from publisher.store.db.rows import audit_entry, raise_alert, write_entries
from publisher.store.db.tables import DELIVERY
from publisher.store.people.sign_ins import SESSION_IDLE_LIFETIME
from publisher.testing.builders import enqueue_posts, make_post
from publisher.web import live
from publisher.web.kit import streams as open_streams
from publisher.web.kit import turns
from publisher.web.kit.frame import FACTS_LIFETIME_SECONDS
from publisher.web.kit.live_parts import (
    MAX_FOLLOWED,
    RenderedItems,
    item_id,
    stream_path,
)
from publisher.web.kit.site import (
    BEAT_SECONDS,
    BEATS_PER_REFRESH,
    Visitor,
)
from publisher.web.kit.streams import (
    MAX_HELD_PER_USER,
    MAX_STREAMS_PER_SESSION,
    MAX_STREAMS_PER_USER,
    OPENING_SECONDS,
    OpenStream,
    Streams,
)
from publisher.web.kit.todo import TodoKind, todo_id
from publisher.web.live import (
    MAX_FRAME_CHARACTERS,
    VIEWS,
    follow,
    open_viewer,
    renew_visitor,
)
from publisher.web.posts import post as posts_page
from publisher.web.process import MAX_HEAD_BYTES
from publisher.web.today.board import MAX_LISTED, row_element
from tests.streams import find_stream
from tests.wait import eventually
from tests.web.conftest import ADMIN
from tests.web.posts import POST, plan, set_state
from tests.web.test_accounts import hand_out

BY, LI = (Actor(role=Role.PERSON, name=name) for name in ("值班", "李"))
ACCOUNT = AccountId("beijing-weibo")
P, Q = (
    row_element(OccurrenceKey(post=PostId(name), occurrence="once")) for name in "pq"
)


async def load_page(site, path="/today", *grants):
    """Return the visitor of a loaded page, and the parameters of its stream."""
    client = next(iter(site.clients), None) or await site.signed_in(
        *(grants or ("viewer",))
    )
    page = (await client.get(path)).text
    address = find_stream(page).removeprefix("/events?")
    session_id = client.cookies["publisher_session"]
    session = await site.store.sign_ins.find_session(session_id)
    visitor = Visitor(
        site=site.app.state.site, lang="zh_CN", session_id=session_id, session=session
    )
    query = dict(parse_qsl(address))
    parts = VIEWS[query["view"]]
    known = {name for part in parts for name in (*part.parameters, *part.kinds)}
    assert query.keys() <= known | {"view", "since", "cut"}
    return visitor, query


def test_an_item_is_rendered_once_and_only_for_a_page_that_shows_it():
    """Of 1,500 accounts an open page shows a part: a change costs no row that nobody sees."""
    rendered = []

    def make(number):
        rendered.append(number)
        return f"<td>{number}</td>"

    items = RenderedItems(make, {"line-a": 1, "line-b": 2})
    assert (list(items), len(items), rendered) == (["line-a", "line-b"], 2, [])
    assert items["line-b"] == items["line-b"] == "<td>2</td>"
    assert rendered == [2]


async def test_a_post_on_many_accounts_renders_the_rows_of_the_page_alone(
    site, monkeypatch
):
    """The other accounts count in the numbers over the list."""
    monkeypatch.setattr(posts_page, "MAX_LINES", 1)
    await plan(site, POST)
    viewer = await open_page(site, "/posts/refund?tab=all")
    await set_state(site, State.PUBLISHED)
    await record(site, "resolved", "refund@beijing-weibo")
    frame = targets(await next_frame(site, viewer))
    assert "delivery-maps" in frame
    assert len([name for name in frame if name.startswith("line-")]) == 1


async def open_page(site, path="/today", *grants):
    """Return a viewer of a page, as its stream has it, after the first frame."""
    viewer = await open_viewer(*await load_page(site, path, *grants))
    await viewer.next_frame()
    return viewer


async def record(site, event, subject, by=LI, before=None):
    """Write that a person has done something."""
    entry = audit_entry(
        site.runtime.now(), by, event=event, subject=subject, before=before
    )
    await site.store.database.write(lambda unit: write_entries(unit, [entry]))


async def next_frame(site, viewer, seconds=1.0):
    site.runtime.advance_time(timedelta(seconds=seconds))
    return await viewer.next_frame()


def coming_id(post, day):
    return item_id("coming", post, "once", day)


def targets(frame):
    return re.findall(r'<hx-partial hx-target="#([\w-]+)"', frame)


def words(frame):
    return re.sub(r"<[^>]*>|\s+", "", frame)


async def change(site, *posts, seconds=3600.0):
    """Plan posts of one account each, due in a while."""
    at = site.runtime.now() + timedelta(seconds=seconds)
    await enqueue_posts(
        site.store.posts, *(make_post(post, [ACCOUNT], at) for post in posts)
    )


async def test_only_the_rows_that_have_changed_are_sent(site):
    """A change of one post sends its row, and nothing of another post.

    Without a change nothing is sent.
    """
    await change(site, "p", "q")
    await site.store.actions.register_worker()
    viewer = await open_page(site)
    quiet = await next_frame(site, viewer)
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    changed = await next_frame(site, viewer)
    counted = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert quiet == ""
    assert targets(changed) == [P, coming_id("p", "2026-11-25")]
    assert {"verdict", "board-tabs"} <= set(targets(counted))
    assert "已完成1" in words(counted)


async def test_a_pause_reaches_every_open_page(site):
    """The banner of a pause appears, and goes, without a reload."""
    await site.store.actions.register_worker()
    viewer = await open_page(site, "/help")
    await site.store.actions.pause("all", BY, "演练")
    paused = await next_frame(site, viewer)
    await site.store.actions.resume("all", BY)
    resumed = await next_frame(site, viewer)
    assert 'data-testid="banner-paused"' in paused
    assert '<div id="banner" role="status"></div>' in resumed


async def test_who_loses_a_region_gets_no_more_of_it(site):
    """An open page has the present roles of its user.

    After the loss of a region, the user gets no more of it.
    """
    await change(site, "p")
    viewer = await open_page(site, "/today", "viewer@beijing-weibo")
    await site.store.users.change_grants(
        "viewer", [parse_grant("viewer@shanghai-weibo")], ADMIN
    )
    is_signed_in = await renew_visitor(viewer)
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    assert is_signed_in
    assert P not in targets(await next_frame(site, viewer))


@pytest.mark.parametrize("end", ["log out", "disable", "reset", "leave", "password"])
async def test_a_stream_ends_as_soon_as_its_session_has(site, monkeypatch, end):
    """A stream ends as soon as its session has ended, in any process.

    It ends with the next frame, long before the next beat.
    """
    monkeypatch.setattr(live, "FRAME_SECONDS", 0.01)
    visitor, page = await load_page(site, "/today")
    following = asyncio.create_task(drain(start_stream(visitor, page)))
    await wait_for_stream(visitor, following)
    users = site.store.users
    match end:
        case "log out":
            await site.store.sign_ins.end_session(visitor.session_id, ADMIN)
        case "disable":
            await users.disable("viewer", ADMIN)
        case "reset":
            await users.reset("viewer", ADMIN)
        case "leave":
            await users.leave("viewer", [], ADMIN)
        case _:
            await users.change_password(visitor.user, "hash", ADMIN)
    site.runtime.advance_time(timedelta(seconds=FACTS_LIFETIME_SECONDS))
    await asyncio.wait_for(following, 10)
    assert await site.store.sign_ins.find_session(visitor.session_id) is None


@pytest.mark.parametrize(
    "path",
    [
        "/logout",
        "/people/viewer/disable",
        "/people/viewer/reset",
        "/people/viewer/leave",
    ],
)
async def test_a_stream_of_the_same_process_ends_by_a_signal(site, monkeypatch, path):
    """It does not even wait for the next frame."""
    monkeypatch.setattr(live, "FRAME_SECONDS", 60.0)
    visitor, page = await load_page(site, "/today")
    following = asyncio.create_task(drain(start_stream(visitor, page)))
    await wait_for_stream(visitor, following)
    [client] = site.clients
    acting = client if path == "/logout" else await site.signed_in("admin", name="管")
    answer = await acting.post(path)
    await asyncio.wait_for(following, 10)
    assert answer.status_code == 303


def start_stream(visitor, page):
    stream = OpenStream(user=visitor.user.name, session_id=visitor.session_id)
    visitor.site.streams.add(stream, 0.0)
    return follow(visitor, page, stream)


async def drain(events):
    async for _event in events:
        pass


async def wait_for_stream(visitor, following):
    """Wait until the stream of a visitor has begun to wait for changes."""
    streams = visitor.site.streams.by_user

    def is_waiting():
        if following.done():
            following.result()
        return any(stream.ending._waiters for own in streams.values() for stream in own)

    await eventually(is_waiting, 10)


async def test_a_demotion_takes_effect_with_the_next_frame(site, monkeypatch):
    """An open page gets nothing more of a region from the frame after its user has lost it."""
    monkeypatch.setattr(live, "FRAME_SECONDS", 0.01)
    await change(site, "p")
    await site.store.actions.register_worker()
    visitor, page = await load_page(site, "/today", "viewer@beijing-weibo")
    sent = []
    following = asyncio.create_task(keep(start_stream(visitor, page), sent))
    await wait_for_stream(visitor, following)
    sent.clear()
    await site.store.users.change_grants(
        "viewer", [parse_grant("viewer@shanghai-weibo")], ADMIN
    )
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    await site.store.actions.pause("all", BY, "x")
    site.runtime.advance_time(timedelta(seconds=FACTS_LIFETIME_SECONDS))
    await eventually(lambda: any("banner-paused" in data for data in sent), 10)
    following.cancel()
    assert [data for data in sent if P in data] == []


async def keep(events, sent):
    async for event in events:
        sent.append(event.data)


async def test_a_page_that_asks_by_itself_does_not_keep_its_user_signed_in(site):
    """Only a person's actions count as use of a session; a page's own requests do not."""
    client = await site.signed_in("viewer")
    for _ in range(2):
        site.runtime.advance_time(SESSION_IDLE_LIFETIME * 0.6)
        answer = await client.get("/today", headers={"hx-request": "true"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


async def test_something_new_to_do_does_not_move_the_list(site):
    """Something new to do is announced by a line and does not move the list.

    The sentence and the number in the menu change.
    """
    await site.store.actions.register_worker()
    viewer = await open_page(site, "/today", "operator")
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "密码被改")
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert {"verdict", "news", "badge-inbox"} <= set(targets(frame))
    assert not [target for target in targets(frame) if target.startswith("todo")]
    assert "有1件事要您处理" in words(frame)
    assert "有1条新的" in words(frame)


async def test_a_post_that_is_planned_later_is_announced_on_today(site):
    """A post that is planned later is announced on Today by a line.

    Its row is not on the page. A page that was hidden meanwhile gets the line, too.
    """
    await change(site, "p")
    await site.store.actions.register_worker()
    viewer = await open_page(site)
    await plan(site, POST)
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    again = await open_viewer(
        viewer.visitor, {**viewer.page, "view": "today", "row": P[4:], "since": "0"}
    )
    back = await again.next_frame()
    assert "有1条新的" in words(frame)
    assert "有1条新的" in words(back)
    assert [target for target in targets(back) if target.startswith("row")] == [P]


async def test_what_comes_next_changes_where_it_stands(site):
    """A line of the next posts changes in place.

    It says that its post is due, not sent any more, or on another day. A new post of tomorrow is
    announced.
    """
    await change(site, "due")
    await change(site, "cancelled", "moved", seconds=24 * 3600)
    await site.store.actions.register_worker()
    viewer = await open_page(site)
    moved = (
        update(DELIVERY)
        .where(DELIVERY.c.post == "moved")
        .values(due_at=site.runtime.now() + timedelta(days=3))
    )
    await site.store.database.write(lambda unit: unit.connection.execute(moved))
    await site.store.actions.cancel_post(PostId("cancelled"), BY, "x")
    await change(site, "new", seconds=25 * 3600)
    site.runtime.advance_time(timedelta(hours=1))
    await site.store.maintenance.run()
    frame = await next_frame(site, viewer, seconds=BEATS_PER_REFRESH * BEAT_SECONDS)
    parts = dict(
        re.findall(
            r'hx-target="#([\w-]+)" hx-swap="outerMorph">(.*?)</hx-partial>',
            frame,
            re.DOTALL,
        )
    )
    due, cancelled = (
        coming_id("due", "2026-11-25"),
        coming_id("cancelled", "2026-11-26"),
    )
    over = f"over-{coming_id('moved', '2026-11-26')}"
    assert {name for name in parts if "coming" in name} == {due, cancelled, over}
    assert [words(parts[name])[-3:] for name in (due, cancelled, over)] == [
        "正在发",
        "已了结",
        "改期了",
    ]
    assert "有1条新的" in words(parts["news"])


async def test_a_page_that_is_left_open_overnight_offers_the_new_day(site):
    """A screen in the duty room shows yesterday until somebody presses the line."""
    viewer = await open_page(site)
    before = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    after = await next_frame(site, viewer, seconds=24 * 3600)
    assert "有1条新的" not in words(before)
    assert "有1条新的" in words(after)


async def test_what_others_have_done_turns_grey_with_their_name(site):
    """A thing that others have done turns grey, with their name and the time.

    It stays in its place, on Today and in the inbox.
    """
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "密码被改")
    await site.store.actions.register_worker()
    viewers = [await open_page(site, path, "operator") for path in ("/today", "/inbox")]
    await site.store.actions.resume(f"account:{ACCOUNT}", LI)
    site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
    frames = [await viewer.next_frame() for viewer in viewers]
    place = f"over-{todo_id(TodoKind.ACCOUNT, f'account:{ACCOUNT}')}"
    assert [place in targets(frame) for frame in frames] == [True, True]
    assert ["李09:00已处理" in words(frame) for frame in frames] == [True, True]


async def test_holds_of_one_reason_stay_one_card_until_the_last_is_ruled_on(site):
    """Holds of one reason stay one card until the last is ruled on.

    A second account, or the ruling on one of two, changes its words. The ruling on the last ends
    the card, with the person's name.
    """
    await plan(site, POST)
    await site.store.actions.register_worker()
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    viewer = await open_page(site, "/inbox", "operator")
    frames = []
    for state, account in [
        (State.HELD, "shanghai-tieba"),
        (State.PUBLISHED, "beijing-tieba"),
        (State.PUBLISHED, "shanghai-tieba"),
    ]:
        reason = "uncheckable" if state is State.HELD else None
        await set_state(
            site, state, account, reason=reason, updated_at=site.runtime.now()
        )
        await record(
            site,
            "resolved",
            f"refund@{account}",
            before="held" if reason is None else None,
        )
        frames.append(await next_frame(site, viewer, seconds=BEAT_SECONDS))
    card = todo_id(TodoKind.RESOLVE, "refund", "uncheckable")
    assert [
        (card in targets(frame), f"over-{card}" in targets(frame)) for frame in frames
    ] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert "2个账号" in words(frames[0])
    assert "李09:00已处理" in words(frames[2])


async def test_holds_of_two_reasons_are_two_cards(site):
    """Each has its own element, also where each is about several accounts."""
    await plan(site, POST)
    for platform, reason in [("weibo", "poison"), ("tieba", "uncheckable")]:
        accounts = [f"{region}-{platform}" for region in ("beijing", "shanghai")]
        await set_state(site, State.HELD, *accounts, reason=reason, attempts=1)
    _visitor, address = await load_page(site, "/inbox", "operator")
    ids = {address["todo"][:10], address["todo"][10:]}
    assert ids == {
        todo_id(TodoKind.RESOLVE, "refund", reason)[5:]
        for reason in ("poison", "uncheckable")
    }


async def test_only_who_has_ended_a_thing_is_named_for_it(site):
    """Only the person that ended a thing is named for it.

    Another action on the same post, or the same action before, did not end a thing that ended by
    itself.
    """
    await plan(site, POST)
    await site.store.actions.register_worker()
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    viewer = await open_page(site, "/inbox", "operator")
    await record(site, "resolved", "refund@beijing-tieba", before="held")
    await next_frame(site, viewer, seconds=BEAT_SECONDS)
    await record(site, "confirmation_requested", "refund@beijing-tieba")
    await set_state(
        site, State.EXPIRED, "beijing-tieba", reason=None, updated_at=site.runtime.now()
    )
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert f"over-{todo_id(TodoKind.RESOLVE, 'refund', 'uncheckable')}" in targets(
        frame
    )
    assert "已经不用处理了" in words(frame)
    assert "李" not in words(frame)


async def test_a_page_that_comes_back_gets_what_it_missed(site):
    """A page that comes back gets the changes it missed.

    A hidden tab drops its stream. Changes without an entry in the audit reach it, too.
    """
    visitor, address = await load_page(site, "/accounts", "viewer")
    await (await open_viewer(visitor, address)).next_frame()
    account = site.application.settings.accounts[ACCOUNT]
    await site.store.login_health.record_probe(
        account, CredentialExpired(reason="auth")
    )
    site.runtime.advance_time(timedelta(seconds=BEAT_SECONDS))
    frame = await (await open_viewer(visitor, address, is_new=False)).next_frame()
    assert "登录不了" in words(frame)


async def test_what_changes_while_a_page_is_read_is_sent(site, monkeypatch):
    """A page counts as no newer than it was before its content was read."""
    await change(site, "p", "q")
    await site.store.actions.register_worker()
    between = site.store.occurrences.between

    async def changed(*arguments):
        await site.store.actions.cancel_post(PostId("p"), BY, "x")
        return await between(*arguments)

    monkeypatch.setattr(site.store.occurrences, "between", changed)
    visitor, address = await load_page(site)
    monkeypatch.undo()
    frame = await (await open_viewer(visitor, address)).next_frame()
    assert P in targets(frame)


@pytest.mark.long
async def test_a_page_without_news_reads_nothing(site, monkeypatch):
    """A page without news reads nothing.

    Between two refreshes, a viewer's own data is read only after something has happened.
    """
    await site.store.actions.register_worker()
    viewer = await open_page(site, "/alerts", "operator")
    read = []
    alerts = site.store.queries.alerts

    async def counted():
        read.append(site.runtime.now())
        return await alerts()

    monkeypatch.setattr(site.store.queries, "alerts", counted)
    while viewer.beat % BEATS_PER_REFRESH:
        await next_frame(site, viewer, seconds=BEAT_SECONDS)
    refreshed = len(read)
    for _ in range(2):
        await next_frame(site, viewer, seconds=BEAT_SECONDS)
    quiet = len(read) - refreshed
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "")
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert (quiet, len(read) - refreshed) == (0, 1)
    assert "badge-inbox" in targets(frame)


async def test_what_moves_up_in_the_list_is_not_new(site):
    """Today lists the first of many things; when one of them is done, the next was there before."""
    await plan(site, POST)
    await site.store.actions.register_worker()
    accounts = site.application.settings.accounts
    for account in accounts:
        await site.store.actions.pause(f"account:{account}", BY, "")
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    viewer = await open_page(site, "/today", "operator")
    await set_state(
        site,
        State.PUBLISHED,
        "beijing-tieba",
        reason=None,
        updated_at=site.runtime.now(),
    )
    await record(site, "resolved", "refund@beijing-tieba", before="held")
    moved_up = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    await set_state(site, State.HELD, "shanghai-tieba", reason="poison", attempts=1)
    await record(site, "noticed", "refund@shanghai-tieba")
    new = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert len(accounts) == MAX_LISTED
    assert "over-" in moved_up
    assert "news" not in targets(moved_up)
    assert "有1条新的" in words(new)


async def test_a_page_of_very_many_things_has_a_stream(site):
    """A page of very many things has a stream.

    Its address fits into the head of a request. As the page's share of the things is unknown, none
    counts as new.
    """
    await site.store.actions.register_worker()
    visitor, _address = await load_page(site, "/alerts", "operator")
    address = stream_path(
        "alerts",
        [item_id("alert", f"no {number}") for number in range(2 * MAX_FOLLOWED)],
    )
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "")
    viewer = await open_viewer(visitor, dict(parse_qsl(address.partition("?")[2])))
    frame = await viewer.next_frame()
    assert len(address) < MAX_HEAD_BYTES * 3 / 4
    assert "verdict" in targets(frame)
    assert 'id="news" role="status" hidden' in frame


async def test_a_post_shows_each_account_as_it_is(site):
    """The row of an account, the counts and the maps of a post change in place.

    A new task for a person is announced.
    """
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    viewer = await open_page(site, "/posts/refund", "operator")
    await set_state(site, State.PUBLISHED, "beijing-tieba", reason=None)
    await set_state(site, State.HELD, "shanghai-tieba", reason="uncheckable")
    await set_state(site, State.UNKNOWN, "shanghai-weibo")
    await site.store.actions.pause("post:refund", BY, "")
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    line = item_id("line", "beijing-tieba")
    assert {line, "delivery-maps", "delivery-tabs", "post-chips", "why-words"} <= set(
        targets(frame)
    )
    assert item_id("line", "shanghai-tieba") not in targets(frame)
    assert "有2条新的" in words(frame)


async def test_the_buttons_of_a_post_are_those_of_the_moment(site):
    """The buttons of a post are the present ones.

    A withdrawn button keeps its place, its dialog says the present number, and a new button is
    announced.
    """
    await plan(site, POST)
    await site.store.actions.register_worker()
    viewer = await open_page(site, "/posts/refund", "operator")
    await set_state(site, State.PUBLISHED, "beijing-tieba", attempts=1)
    await site.store.actions.pause("post:refund", BY, "")
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    parts = dict(
        re.findall(
            r'hx-target="#([\w-]+)" hx-swap="outerMorph">(.*?)</hx-partial>',
            frame,
            re.DOTALL,
        )
    )
    pause = item_id("button", "pause-post")
    assert {name for name in parts if name.startswith("button")} == {pause}
    assert 'aria-disabled="true"' in parts[pause]
    assert "还没发的3个不再发" in words(parts[item_id("dialog", "cancel")])
    assert "值班暂停了" in words(parts["post-facts"])
    assert "有2条新的" in words(parts["news"])


async def test_a_delivery_says_what_has_become_of_it(site):
    """The state and the words of a delivery change in place.

    A line offers to reload, as the buttons belong to the old state.
    """
    await plan(site, POST)
    await set_state(site, State.HELD, "beijing-tieba", reason="uncheckable", attempts=1)
    viewer = await open_page(site, "/deliveries/refund/once/beijing-tieba", "operator")
    await site.store.actions.pause("post:refund", BY, "")
    unchanged = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    await set_state(site, State.PUBLISHED, "beijing-tieba", reason=None)
    await site.store.actions.resume("post:refund", BY)
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert "news" not in targets(unchanged)
    assert {"delivery-facts", "why-words", "news"} <= set(targets(frame))
    assert "已发布" in words(frame)


async def test_a_retraction_shows_each_account_as_it_goes(site):
    """The numbers and the rows of a post that is taken down change until all of it is gone."""
    await plan(site, POST)
    await set_state(site, State.PUBLISHED, attempts=1)
    await site.store.actions.retract("refund", None, BY, "写错了")
    viewer = await open_page(site, "/posts/refund/retract", "author")
    await set_state(site, State.RETRACTED, "beijing-weibo")
    await record(site, "absence_proven", "refund@beijing-weibo")
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    rows = [target for target in targets(frame) if target.startswith("time")]
    assert rows == [item_id("time", "once", "beijing-weibo")]
    assert "已删1" in words(frame)


async def test_accounts_change_in_their_cells_and_cards(site):
    """A pause colours the cell and announces a card.

    A card of a resumed account names the person.
    """
    await site.store.actions.pause("account:shanghai-weibo", BY, "换密码")
    viewer = await open_page(site, "/accounts")
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "密码被改")
    await site.store.actions.resume("account:shanghai-weibo", LI)
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    cells = [target for target in targets(frame) if target.startswith("cell")]
    assert len(cells) == 2
    assert {"news", f"over-{item_id('card', 'account:shanghai-weibo')}"} <= set(
        targets(frame)
    )


async def test_a_board_that_is_filtered_stays_so(site):
    """The cells of a filtered board show the accounts of the chosen status alone.

    This holds also once the page is brought up to date.
    """
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "")
    visitor, address = await load_page(site, "/accounts?status=action", "viewer")
    frame = await (await open_viewer(visitor, address, is_new=False)).next_frame()
    cells = "".join(re.findall(r"<td\s+id=.*?</td>", frame, re.DOTALL))
    assert re.findall(r'href="/accounts/([\w-]+)"', cells) == [ACCOUNT]


async def test_a_task_by_hand_that_somebody_has_done_says_so(site):
    """On the list of others, in place."""
    await plan(site, POST)
    await hand_out(site, "beijing-tieba")
    viewer = await open_page(site, "/assist", "author")
    [task] = await site.store.manual_tasks.list_open()
    await site.store.manual_tasks.record_report(
        task.delivery.id, "https://example.com/1", BY
    )
    frame = await next_frame(site, viewer)
    assert item_id("task", "refund@beijing-tieba") in targets(frame)
    assert "值班说发好了" in words(frame)


async def test_an_alert_that_somebody_has_taken_on_says_so(site):
    """The row of an alert names the responsible person on every open page of alerts."""
    await site.store.actions.pause(f"account:{ACCOUNT}", BY, "")
    await site.store.database.write(
        lambda unit: raise_alert(unit, site.runtime.now(), "disk_full", "machine", {})
    )
    viewer = await open_page(site, "/alerts", "operator")
    [alert] = await site.store.queries.alerts()
    await site.store.actions.dismiss_alert(alert.id, BY)
    frame = await next_frame(site, viewer, seconds=BEAT_SECONDS)
    assert {"verdict", item_id("alert", str(alert.id))} <= set(targets(frame))
    assert "值班" in words(frame)


@pytest.mark.long
async def test_a_row_is_rendered_once_for_all(site, monkeypatch):
    """Fifty viewers with the same permissions cost one rendering of the row."""
    await change(site, "p")
    await site.store.actions.register_worker()
    viewers = [await open_page(site) for _ in range(50)]
    read = []
    board = site.store.dashboard.board

    async def counted(*arguments):
        read.append(arguments)
        return await board(*arguments)

    monkeypatch.setattr(site.store.dashboard, "board", counted)
    await site.store.actions.cancel_post(PostId("p"), BY, "x")
    site.runtime.advance_time(timedelta(seconds=1))
    frames = await asyncio.gather(*(viewer.next_frame() for viewer in viewers))
    assert len(read) == 1
    assert all(P in targets(frame) for frame in frames)


async def test_much_that_changes_at_once_comes_in_small_frames(site):
    """A frame has few parts, the next one the rest; none is lost."""
    posts = [f"p{number}" for number in range(12)]
    await change(site, *posts)
    viewer = await open_page(site)
    for post in posts:
        await site.store.actions.cancel_post(PostId(post), BY, "x")
    frames = [await next_frame(site, viewer) for _ in range(4)]
    rows = [
        target
        for frame in frames
        for target in targets(frame)
        if target.startswith("row")
    ]
    assert len(set(rows)) == len(posts)
    assert max(map(len, frames)) <= MAX_FRAME_CHARACTERS
    assert len(frames[1]) > 0


def list_displaced(*opened):
    """Open streams of (user, session), and return the ones that had to make room."""
    streams = Streams()
    each = [OpenStream(user=user, session_id=session) for user, session in opened]
    for stream in each:
        streams.add(stream, 0.0)
    return [number for number, stream in enumerate(each) if stream.is_displaced]


def test_f90_of_many_streams_the_oldest_of_the_same_person_end():
    """F90: a person with too many open pages, in one session or several, loses the oldest.

    Others lose none.
    """
    other = [("李", "other")]
    one_session = [("张", "a")] * (MAX_STREAMS_PER_SESSION + 2)
    many_sessions = [("张", str(number)) for number in range(MAX_STREAMS_PER_USER + 2)]
    assert list_displaced(*other, *one_session) == [1, 2]
    assert list_displaced(*other, *many_sessions) == [1, 2]


def test_f90_where_all_streams_are_taken_the_person_with_the_most_loses_one(
    monkeypatch,
):
    """F90: where all streams are taken, a person with a first page still gets a stream."""
    monkeypatch.setattr(open_streams, "MAX_STREAMS", 5)
    assert list_displaced(
        ("王", "w"), *[("张", "a")] * 3, ("李", "b"), ("赵", "c")
    ) == [1]


async def test_f90_a_user_whose_streams_have_not_ended_yet_gets_no_other(site):
    """F90: the streams of one user hold a bounded number of connections.

    This holds however fast pages are opened.
    """
    client = await site.signed_in("viewer")
    streams = site.app.state.site.streams
    for number in range(MAX_HELD_PER_USER):
        streams.add(OpenStream(user="viewer", session_id=str(number)), 0.0)
    refused = await client.get("/events?view=today")
    assert refused.status_code == 429


async def test_f90_streams_are_opened_at_a_bounded_rate(site, monkeypatch):
    """F90: streams are opened at a bounded rate, as each reads all that its page shows.

    A user opens a few in some seconds. No stream is counted after its end.
    """
    monkeypatch.setattr(turns, "LINGER_SECONDS", 0)
    client, dashboard = await site.signed_in("viewer"), site.app.state.site
    dashboard.stopping.set()  # each stream ends at once
    answers = [
        (await client.get("/events?view=today")).status_code
        for _ in range(MAX_STREAMS_PER_USER + 1)
    ]
    site.runtime.advance_time(timedelta(seconds=OPENING_SECONDS))
    later = await client.get("/events?view=today")
    assert answers == [200] * MAX_STREAMS_PER_USER + [429]
    assert later.status_code == 200
    assert dashboard.streams.by_user == {}


@pytest.mark.long
async def test_f90_a_displaced_stream_ends_and_says_why(site):
    """F90: the last event of a displaced stream is `displaced`.

    The page then does not connect again and displace another one.
    """
    visitor, page = await load_page(site)
    events = start_stream(visitor, page)
    await anext(events)
    [[stream]] = visitor.site.streams.by_user.values()
    stream.is_displaced = True
    last = [event.event async for event in events]
    assert last[-1] == "displaced"


async def test_f90_an_unknown_parameter_costs_no_reading_of_its_own(site):
    """Streams whose addresses differ in a parameter of no page share what they read."""
    visitor, _address = await load_page(site, "/accounts")
    pages = [
        (await open_viewer(visitor, {"view": "accounts", "junk": str(number)})).page
        for number in range(2)
    ]
    assert pages == [{}, {}]


async def test_an_open_post_gets_its_alerts_and_loses_them(site):
    """A missing approval is no longer said to be missing once it is given, without a reload."""
    await plan(site, POST)
    viewer = await open_page(site, "/posts/refund", "viewer")
    at, facts = site.runtime.now(), {"post": "refund", "number": "7"}
    await site.store.database.write(
        lambda unit: raise_alert(unit, at, "occurrences_missed", "refund", facts)
    )
    await record(site, "send_requested", "refund")
    frame = await next_frame(site, viewer)
    assert "post-alerts" in targets(frame)
    assert "错过的 7 次" in frame
    [alert] = await site.store.queries.alerts()
    await site.store.actions.dismiss_alert(alert.id, LI)
    await record(site, "send_requested", "refund")
    frame = await next_frame(site, viewer)
    assert ("post-alerts" in targets(frame), "错过的 7 次" in frame) == (True, False)
