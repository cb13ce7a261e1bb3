"""The access of people of one region, for every row of the table of routes.

Nothing names another region's objects.
"""

import asyncio
import re
import shutil
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import event

from publisher.app.application import open_application
from publisher.app.open_store import open_store
from publisher.cli.application import activate_schedule
from publisher.config import load_settings
from publisher.domain.post import OccurrenceKey, PostId
from publisher.domain.user import Permission, UserRole, parse_grant
from publisher.engine.decisions import named_person
from publisher.store.db.rows import raise_alert
from publisher.testing.fakes import make_confirmed_runtime
from publisher.web.dashboard import create_dashboard
from publisher.web.kit.live_parts import item_id
from publisher.web.kit.site import Visitor
from publisher.web.kit.todo import TodoKind, todo_id
from publisher.web.live import VIEWS, open_viewer
from publisher.web.routes import ROUTES
from publisher.web.write import move, remove, urgent, write
from tests.cli.posts import WARNING, warning, write_schedule
from tests.web.conftest import ADMIN, WebSite, make_workspace
from tests.web.test_access import reaches

OWN, OTHER = "110000", "310000"
EVERY_ROLE = tuple(f"{role}@region:{OWN}" for role in UserRole)
NAMES = ("shanghai-", "上海", f"region:{OTHER}", "hush-")
"""Accounts, region and posts of the other region.

A request's own names are no news to its sender.
"""
SECRETS = ("沪内部", "沪甲", "沪乙", "13900000001", "沪的草稿", "沪停发")
"""Titles, people, a telephone, a draft and a reason of the other region."""


FORM = {
    "kind": "warning", "level": "orange", "data.summary": "先垫钱的兼职都是诈骗",
    "data.signs": "拉进群", "data.advice": "报警", "data.level_basis": "本单位规定",
    "when": "once", "at_date": "2026-12-20", "at_time": "09:00",
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch):
    """No daemon runs here that would put a save in force."""
    for module in (move, remove, urgent, write):
        monkeypatch.setattr(module, "ACCEPTED_WITHIN_SECONDS", 0)


@pytest.fixture
async def regions_site(tmp_path, sqlite_template):
    """Yield a dashboard with every kind of object in two regions, and one post for both."""
    folder = await asyncio.to_thread(make_workspace, tmp_path / "drill")
    shutil.copyfile(sqlite_template, folder / "var" / "publisher.db")
    runtime, settings = make_confirmed_runtime(), folder / "publisher.toml"
    async with open_store(await load_settings(folder), runtime) as store:
        await store.users.add(ADMIN.name, [parse_grant("admin")], ADMIN)
    settings.write_text(
        'approval_preset = "two persons"\n' + settings.read_text("utf-8"), "utf-8"
    )
    async with open_application(
        await load_settings(folder), runtime, can_send=False
    ) as application:
        site = WebSite(
            application=application, app=create_dashboard(application), runtime=runtime
        )
        yield site
        for client in site.clients:
            await client.aclose()


async def fill(site):
    """Create the objects of both regions.

    Return the names that an address can use in each, as the table of routes calls them.
    """
    due = f"at = {site.runtime.now() + timedelta(hours=3):%Y-%m-%dT%H:%M:%S}Z"
    correction = WARNING.replace(
        'kind = "warning"', 'kind = "correction"\nfollows = "hush-post"'
    )
    posts = [
        warning("own-post", due, f'["region:{OWN}"]'),
        warning("both-post", due, '["beijing-weibo", "shanghai-weibo"]'),
        warning("hush-post", due, f'["region:{OTHER}"]').replace("警惕", "沪内部"),
        correction.format(id="hush-fix", when=due, to=f'["region:{OTHER}"]').replace(
            "警惕", "沪内部"
        ),
    ]
    write_schedule(site.application.settings.workspace, *posts)
    await activate_schedule(site.application)
    for name, region, phone in (
        ("京甲", OWN, "1380"),
        ("沪甲", OTHER, "13900000001"),
        ("沪乙", OTHER, ""),
    ):
        await site.signed_in(
            f"author@region:{region}", f"approver@region:{region}", name=name
        )
        await site.store.duty.add(name, named_person("沪乙"), phone)
    await site.store.actions.pause(
        "account:shanghai-tieba", named_person("沪乙"), "沪停发"
    )
    await site.store.actions.pause(
        "account:beijing-tieba", named_person("京甲"), "停发"
    )
    await site.store.database.write(lambda unit: raise_alerts(unit, site.runtime.now()))
    await site.store.actions.register_worker()


def raise_alerts(unit, now):
    for post, account in (
        ("own-post", "beijing-weibo"),
        ("hush-post", "shanghai-weibo"),
    ):
        raise_alert(
            unit,
            now,
            "held.captcha",
            f"{post}@{account}",
            {"post": post, "account": account},
        )
    raise_alert(
        unit, now, "reload_refused", "schedule", {"reason": "hush-post: 沪内部"}
    )
    raise_alert(
        unit,
        now,
        "posts_removed",
        "posts",
        {"number": "1", "posts": "hush-post", "all": '["hush-post"]'},
    )
    raise_alert(
        unit,
        now,
        "accounts_added_late",
        "both-post",
        {"post": "both-post", "accounts": "shanghai-weibo"},
    )


async def describe(site, client, stem, writer, title):
    """Return the names that an address can use for a region.

    They name a post, its parts, and the draft and preview of its `writer`.
    """
    post, city = PostId(f"{stem}-post"), "beijing" if stem == "own" else "shanghai"
    [alert] = [
        one
        for one in await site.store.queries.alerts()
        if one.facts.get("account") == f"{city}-weibo"
    ]
    texts = await site.store.occurrences.renditions(
        OccurrenceKey(post=post, occurrence="once")
    )
    [article] = [text for text in texts if text.account == f"{city}-wechat"]
    form = {**FORM, "title": title, "to": f"{city}-wechat"}
    await client.post("/write/check", data=form)
    # not every role may write
    draft = next((draft.id for draft in await site.store.drafts.list(writer)), "none")
    preview = next(iter(site.app.state.site.articles._kept.get(writer, ())), "none")
    return {
        "post": post, "occurrence": "once", "account": f"{city}-weibo", "number": str(alert.id),
        "code": alert.code, "platform": "weibo",
        "draft": draft, "name": writer, "fingerprint": article.fingerprint,
        "sha256": article.images[0].sha256, "link": "none", "preview": preview,
    }  # fmt: skip


def fill_path(route, names):
    known = (
        {**names, "fingerprint": names["preview"]}
        if route.name == "draft_article"
        else names
    )
    return re.sub(r"\{(\w+)\}", lambda found: known[found[1]], route.path)


def find_names(answer, *sent):
    """Return the names of the other region in an answer, without the request's own words."""
    text = (
        answer
        if isinstance(answer, str)
        else f"{answer.text}{answer.headers.get('location', '')}"
    )
    for word in sorted(sent, key=len, reverse=True):
        text = text.replace(word, "")
    return sorted({name for name in (*NAMES, *SECRETS) if name in text})


async def sign_in(site, *roles):
    """Return the client of a person with these roles.

    The client sends a token of the person too, for the figures.
    """
    client = await site.signed_in(*roles, name="京全")
    token = await site.store.sign_ins.issue_token("京全", [Permission.VIEW], ADMIN)
    client.headers["authorization"] = f"Bearer {token}"
    return client


async def arrange(site, *roles):
    """Return the client of a person with these roles, and the names in both regions.

    The names are the ones that an address can use.
    """
    await fill(site)
    theirs = site.clients[1]
    client = await sign_in(site, *roles)
    other = await describe(site, theirs, "hush", "沪甲", "沪的草稿")
    return client, await describe(site, client, "own", "京全", "草稿"), other


async def ask_routes(client, names):
    """Request every route with these names; return the statuses, and the names in any answer.

    The stream never ends, and is tested by itself. Signing out comes last, by another client.
    """
    statuses, leaks = {}, {}
    for route in ROUTES:
        if route.name in {"events", "log_out"}:
            continue
        answer = await client.request(route.method, fill_path(route, names))
        statuses[route.name] = answer.status_code
        if leaked := find_names(answer, *names.values()):
            leaks[route.name] = leaked
    return statuses, leaks


MAX_TRANSACTIONS = 2
"""Of one page: its reads, and the session that is looked up before its turn."""
EXPECTED = {
    "healthz": (200, 200), "metrics": (200, 200), "root": (303, 303), "today": (200, 200),
    "login": (303, 303), "log_in": (422, 422), "login_code": (303, 303), "enter_code": (303, 303),
    "setup": (200, 200), "open_link": (404, 404), "begin_setup": (404, 404),
    "setup_form": (404, 404), "set_up": (404, 404), "logout": (200, 200),
    "inbox": (200, 200), "approve": (200, 404), "give_approval": (409, 404),
    "approve_changes": (303, 404), "approve_return": (200, 404), "return_text": (422, 404),
    "undo_return": (409, 404), "end_approvals": (303, 404),
    "release_family": (404, 404),
    "bulk_approve": (409, 409), "give_approvals": (409, 409), "bulk_retract": (409, 409),
    "bulk_move": (409, 409), "move_posts": (409, 409),
    "retract_posts": (409, 409), "bulk_resolve": (409, 404), "resolve_all": (409, 404),
    "people": (200, 200), "add_person": (403, 403), "change_duty": (403, 403), "person": (200, 404),
    "change_roles": (403, 403), "disable_person": (403, 403), "enable_person": (403, 403),
    "reset_person": (403, 403), "leave": (403, 403), "leave_for_good": (403, 403),
    "confirm_request": (403, 403), "decline_request": (403, 403),
    "me": (200, 200), "my_resets": (200, 200), "step_up": (422, 422),
    "replace_password": (422, 422), "end_session": (303, 303), "issue_token": (422, 422),
    "end_token": (303, 303),
    "pause": (200, 200), "pause_all": (403, 403), "resume": (200, 200), "resume_all": (403, 403),
    "write": (200, 200), "save_post": (422, 422), "check_post": (200, 200),
    "draft_article": (200, 404), "draft_picture": (404, 404),
    "draft": (200, 404), "delete_draft": (303, 303), "restore_draft": (303, 404),
    "urgent": (200, 200), "send_urgent": (200, 200), "urgent_release": (200, 404),
    "release": (409, 404),
    "edit": (200, 404), "move_post": (400, 400), "remove": (200, 404), "remove_post": (422, 404),
    "posts": (200, 200), "post": (200, 404), "texts": (200, 404), "cancel_form": (200, 404),
    "cancel": (422, 404),
    "retract_form": (200, 404), "retract": (422, 404), "refresh_form": (200, 404),
    "refresh_texts": (303, 404),
    "pause_post_form": (200, 404), "pause_post": (303, 404), "resume_post_form": (200, 404),
    "resume_post": (409, 404),
    "correct_form": (200, 404), "correct": (404, 404), "occurrence": (200, 404),
    "occurrence_texts": (200, 404),
    "delivery": (200, 404), "resolve_form": (409, 404), "resolve": (409, 404),
    "resend_form": (409, 404), "resend": (409, 404), "retract_one_form": (200, 404),
    "retract_one": (422, 404), "acknowledge_end": (404, 404), "restore_end": (404, 404),
    "alerts": (200, 200), "acknowledge": (303, 404), "unacknowledge": (303, 404),
    "acknowledge_kind": (404, 404),
    "ask_about_alert": (303, 404), "ask_about_account": (303, 404),
    "accounts": (200, 200), "account": (200, 404), "pause_account_form": (200, 404),
    "pause_account": (303, 404), "resume_account_form": (200, 404), "resume_account": (409, 404),
    "probe_account": (303, 404), "open_sign_in_link": (303, 404),
    "send_sign_in_link": (303, 404), "sign_in_answer": (200, 200),
    "take_sign_in_answer": (404, 404),
    "mode_form": (200, 404), "set_mode": (409, 404), "evergreen_form": (409, 404),
    "schedule_evergreen": (409, 404),
    "offboard_form": (200, 404), "offboard": (422, 404),
    "recover_form": (409, 409), "recover": (409, 409),
    "assist": (200, 200), "assist_task": (303, 404), "assist_done": (409, 404),
    "calendar": (200, 200), "calendar_week": (200, 200), "calendar_list": (200, 200),
    "audit": (200, 200), "export_audit": (403, 403), "search": (200, 200), "help": (200, 200),
    "article": (200, 404), "media": (200, 404),
    "phone": (200, 404), "send_preview": (422, 404),
}  # fmt: skip
"""The answers to a person with roles on one region only.

The first is for objects of this region, the second for objects of another one. An answer to an
empty form is 422, or 409 where nothing is to be done. 404 does not say whether there is such a
thing.
"""


def expect(role, place):
    """Return the expected statuses of a role.

    The status is 403 wherever the table of routes has a permission the role lacks.
    """
    refused = {
        route.name
        for route in ROUTES
        if route.permission and not reaches(role, route.permission)
    }
    # who is on duty releases, or who wrote it
    if place == 0 and not reaches(role, Permission.APPROVE):
        refused.add("release")
    may_preview = (Permission.WRITE, Permission.SEND, Permission.APPROVE)
    if place == 0 and not any(reaches(role, each) for each in may_preview):
        refused.add("send_preview")
    return {
        name: 403 if name in refused else found[place]
        for name, found in EXPECTED.items()
    }


@pytest.mark.long
async def test_a_person_of_one_region_gets_nothing_of_another(regions_site):
    """A person with all roles on one region gets no name of another from any route.

    Every route is asked for the other region's objects.
    """
    client, _own, other = await arrange(regions_site, *EVERY_ROLE)
    statuses, leaks = await ask_routes(client, other)
    assert leaks == {}
    assert statuses == {name: found[1] for name, found in EXPECTED.items()}


@pytest.mark.long(seconds=50)
@pytest.mark.parametrize("role", UserRole)
async def test_each_role_on_one_region_gets_only_what_is_its_own(regions_site, role):
    """Each role on one region gets the status of the table from every route.

    The routes are asked for the objects of both regions. No answer has a name of the other region.
    """
    client, *regions = await arrange(regions_site, f"{role}@region:{OWN}")
    for place, names in enumerate(regions):
        # a busy machine may have taken longer than a daemon is silent
        await regions_site.store.actions.heartbeat()
        regions_site.app.state.site.caches.frame_facts.clear()  # pages have kept that
        statuses, leaks = await ask_routes(client, names)
        assert leaks == {}
        expected = expect(role, place)
        assert {
            key: (value, expected[key])
            for key, value in statuses.items()
            if value != expected[key]
        } == {}


@pytest.mark.long
async def test_a_page_shows_one_moment(regions_site):
    """Every page reads in one transaction, apart from the turn of a new session."""
    client, own, _other = await arrange(regions_site, *EVERY_ROLE)
    begun, many = Counter(), {}
    engine = regions_site.store.database.engine
    event.listen(engine, "begin", lambda _connection: begun.update(["transactions"]))
    for route in ROUTES:
        if route.method == "GET" and route.name != "events":
            begun.clear()
            await client.get(fill_path(route, own))
            if begun["transactions"] > MAX_TRANSACTIONS:
                many[route.name] = begun["transactions"]
    assert many == {}


def list_questions(other):
    """Return requests that name things of the other region, with the expected statuses.

    They use all ways that addresses and forms have.
    """
    marker, post, account = other["marker"], other["post"], other["account"]
    gets = {
        f"/write?kind=correction&follows={post}": 200,
        f"/write?like={post}": 404,
        f"/search?q={post}": 200,
        "/search?q=退款": 200,
        f"/search?q={marker}": 200,
        f"/posts?q={post}": 200,
        f"/posts/both-post?open={account}&account={account}&tab=all": 200,
        f"/posts/both-post/texts?a={account}&b=beijing-weibo": 200,
        f"/deliveries/both-post/once/{account}": 404,
        f"/approve/both-post?account={account}&platform=weibo": 200,
        "/approve/both-post/changes": 303,
        f"/calendar?to={account}": 200,
        f"/calendar/list?to={account}": 200,
        f"/accounts?view=list&q={account}": 200,
        f"/audit?q={post}&jobs=1": 200,
        f"/audit?by={other['name']}": 200,
        "/audit?event=duty_added": 200,
        "/people": 200,
        f"/people/{other['name']}": 404,
        "/urgent/both-post": 200,
    }
    form = {
        **FORM,
        "title": "更正",
        "kind": "correction",
        "template": "correction",
        "follows": post,
        "data.wrong": "错",
        "data.right": "对",
    }
    move = {"was": "2026-12-20T09:00", "at": "2026-12-21T09:00"}
    sent = [
        ("/write/check", {**form, "to": "beijing-wechat"}, 200),
        ("/write/check", {**FORM, "title": "警惕", "to": ["all"]}, 200),
        ("/write", {**form, "to": "beijing-wechat", "do": "save"}, 422),
        (
            "/write",
            {**form, "follows": "hush-pos", "to": "beijing-wechat", "do": "save"},
            422,
        ),
        ("/write", {**FORM, "title": "警惕", "to": "shanghai", "do": "save"}, 422),
        ("/write", {**FORM, "title": "警惕", "to": account, "do": "save"}, 422),
        (
            "/write",
            {**FORM, "title": "警惕", "id": post, "to": "beijing-wechat", "do": "save"},
            422,
        ),
        ("/urgent", {**FORM, "title": "警惕", "to": ["all"], "do": "preview"}, 200),
        (f"/posts/{post}/move", move, 404),
        ("/posts/both-post/correct", {"correction": "hush-fix"}, 403),
        ("/posts/own-post/correct", {"correction": "hush-fix"}, 404),
    ]
    return [("GET", path, {}, status) for path, status in gets.items()] + [
        ("POST", *each) for each in sent
    ]


@pytest.mark.long
async def test_nothing_of_another_region_is_got_by_naming_it(regions_site):
    """A query or form that names another region's things gets back its own words at most.

    It names originals, copies, searches, filters, recipients, and ids.
    """
    client, _own, other = await arrange(regions_site, *EVERY_ROLE)
    [marker] = [
        one.marker
        for one in await regions_site.store.queries.deliveries(other["post"])
        if one.account == other["account"]
    ]
    names, wrong = {**other, "marker": marker}, {}
    for method, path, form, status in list_questions(names):
        answer = await client.request(method, path, data=form)
        found = find_names(
            answer, *names.values(), "hush-pos", "hush-fix", *form.get("title", ())
        )
        if (answer.status_code, found) != (status, []):
            wrong[path, str(form)] = answer.status_code, found
    assert wrong == {}


async def test_a_post_of_another_region_cannot_be_followed(regions_site):
    """A post of another region cannot be followed: to the writer there is no such post.

    Its title would appear in the preview, and in the published text.
    """
    client, _own, _other = await arrange(regions_site, *EVERY_ROLE)
    form = {
        **FORM,
        "title": "续报一则预警",
        "kind": "update",
        "template": "update",
        "to": "beijing-wechat",
        "do": "save",
    }
    answers = {
        original: [
            await client.post(path, data={**form, "follows": original})
            for path in ("/write/check", "/write")
        ]
        for original in ("hush-post", "none", "both-post")
    }
    statuses = {
        key: [answer.status_code for answer in found] for key, found in answers.items()
    }
    is_unknown = {
        key: ["problem-follows" in answer.text for answer in found]
        for key, found in answers.items()
    }
    assert statuses == {
        "hush-post": [200, 422],
        "none": [200, 422],
        "both-post": [200, 303],
    }
    assert is_unknown == {
        "hush-post": [True, True],
        "none": [True, True],
        "both-post": [False, False],
    }
    assert not any(
        find_names(answer, "hush-post")
        for found in answers.values()
        for answer in found
    )


async def test_a_refused_file_names_no_post_of_another_region(regions_site):
    """A refused file names no post of another region.

    Neither the form, nor a save, nor the page of an error describes a problem of others' posts.
    """
    client, _own, _other = await arrange(regions_site, *EVERY_ROLE)
    file = regions_site.application.settings.schedule_file
    broken = await asyncio.to_thread(
        lambda: file.read_text("utf-8").replace('title = "沪内部', 'titel = "沪内部')
    )
    await asyncio.to_thread(file.write_text, broken, "utf-8")
    form = {**FORM, "title": "警惕", "to": "beijing-wechat", "do": "save"}
    answers = [await client.post("/write", data=form)]
    await asyncio.to_thread(file.write_text, f"{broken}\nhush-post = [", "utf-8")
    answers += [
        await client.post("/write", data=form),
        await client.get("/posts/own-post/edit"),
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 409]
    assert [find_names(answer) for answer in answers] == [[], [], []]
    assert ["其他单位" in answer.text for answer in answers] == [True, True, True]


async def test_a_stream_names_nothing_of_another_region(regions_site):
    """A stream names nothing of another region, for any view and address.

    It covers posts, items that others have done, and the banner of a refused file.
    """
    client, _own, other = await arrange(regions_site, *EVERY_ROLE)
    session = await regions_site.store.sign_ins.find_session(
        client.cookies["publisher_session"]
    )
    visitor = Visitor(
        site=regions_site.app.state.site, lang="zh_CN", session_id="x", session=session
    )
    await regions_site.store.actions.resume(
        "account:shanghai-tieba", named_person("沪乙")
    )
    done = [item_id(kind, "account:shanghai-tieba") for kind in ("card", "task")]
    done += [
        todo_id(TodoKind.ACCOUNT, "account:shanghai-tieba"),
        todo_id(TodoKind.APPROVE, "hush-post"),
    ]
    digits, found = "".join(one.rpartition("-")[2] for one in done), {}
    for view, parts in VIEWS.items():
        for post in (other["post"], "both-post"):
            query = {
                "post": post,
                "occurrence": "once",
                "account": other["account"],
                "open": other["account"],
            }
            known = {kind: digits for part in parts for kind in part.kinds}
            viewer = await open_viewer(
                visitor, {"view": view, "since": "0", **query, **known}, is_new=False
            )
            if leaked := find_names(await viewer.next_frame(), *other.values()):
                found[view, post] = leaked
    assert found == {}


@pytest.mark.long
async def test_who_sees_everything_finds_all_of_it(regions_site):
    """A person with all accounts finds the names that the other tests look for.

    They are in pages, figures and the banner.
    """
    client, _own, other = await arrange(regions_site, *UserRole)
    _statuses, found = await ask_routes(client, {**other, "name": ADMIN.name})
    shown = set().union(*found.values())
    pages = {
        "today",
        "people",
        "metrics",
        "alerts",
        "audit",
        "accounts",
        "calendar",
        "posts",
        "write",
        "inbox",
        "urgent",
    }
    assert shown == {*NAMES, *SECRETS} - {"沪的草稿"}
    assert pages <= found.keys()
