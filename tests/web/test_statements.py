"""Pages and actions ask the database a dozen times at most, however much there is."""

import asyncio
import re
import shutil
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, update

from publisher.app.application import open_application
from publisher.app.open_store import open_store
from publisher.cli.application import activate_schedule
from publisher.config import load_settings
from publisher.domain.delivery import MAINTENANCE, State
from publisher.domain.post import PostId
from publisher.domain.results import ManualTask, Ticket
from publisher.domain.user import UserRole, parse_grant
from publisher.engine.decisions import named_person
from publisher.store.db.rows import raise_alert
from publisher.store.db.tables import DELIVERY, changed_columns
from publisher.testing.builders import unlimited_approver
from publisher.testing.fakes import make_confirmed_runtime
from publisher.web.dashboard import create_dashboard
from publisher.web.kit.caches import TaskCache
from publisher.web.kit.site import Site
from publisher.web.routes import ROUTES
from tests.cli.posts import WARNING, warning, write_schedule
from tests.web.conftest import ADMIN, WebSite, make_workspace
from tests.web.posts import hidden_fields

REGIONS = [2, pytest.param(17, marks=pytest.mark.long(seconds=20))]
"""Each with three accounts. Their number makes no difference."""
MAX_STATEMENTS = 12
MAX_OF_LARGE_PAGES = {
    "account": 14,
    "edit": 18,
    "metrics": 16,
    "occurrence": 15,
    "post": 15,
    "write": 14,
}
"""Pages that need more.

They are one account, a form made from a post, a post with an opened account, and the figures.
"""
POSTS = ("held", "first", "sent", "task")
CENTRE = named_person("乙")
UNCOUNTED = ("BEGIN", "PRAGMA", "SAVEPOINT", "RELEASE")


@contextmanager
def recorded_statements(engine):
    """Yield the list of the statements of a database, which grows while the context lasts."""
    statements = []

    def note(_connection, _cursor, statement, *_rest):
        if not statement.startswith(UNCOUNTED):
            statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
async def busy(tmp_path, sqlite_template, regions):
    """Yield a dashboard with approvals, and with everything that waits for people."""
    folder = await asyncio.to_thread(make_workspace, tmp_path / "drill", regions)
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
        await fill(site)
        yield site
        for client in site.clients:
            await client.aclose()


async def fill(site):
    """File posts, put them into all kinds of states, and let people act."""
    now = site.runtime.now()
    soon, later = (
        f"at = {now + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}Z" for hours in (3, 30)
    )
    correction = WARNING.replace(
        'kind = "warning"', 'kind = "correction"\nfollows = "sent"'
    )
    write_schedule(
        site.application.settings.workspace,
        *(warning(name, soon) for name in ("first", "sent", "held", "task")),
        *(warning(name, later) for name in ("next", "last")),
        warning("weekly", 'cron = "0 9 * * 1"'),
        correction.format(id="fix", when=later, to='["all"]'),
    )
    await activate_schedule(site.application)
    for name in ("甲", "乙"):
        await site.signed_in("author", "approver", name=name)
        await site.store.duty.add(name, CENTRE, "")
    published = {"attempts": 1, "published_at": now, "verified_at": now}
    await set_state(site, "sent", State.PUBLISHED, **published)
    await set_state(site, "held", State.HELD, attempts=1, reason="captcha")
    for delivery in await site.store.queries.deliveries(PostId("task")):
        handed_out = replace(
            delivery, ticket=Ticket(manual_task=ManualTask(assigned_at=now))
        )
        columns = changed_columns(delivery, handed_out)
        await set_state(
            site, "task", State.SUBMITTED, delivery.account, attempts=1, **columns
        )
    for account in ("beijing-weibo", "shanghai-weibo"):
        await site.store.actions.pause(f"account:{account}", CENTRE, "停发")
    for account in ("beijing-wechat", "shanghai-wechat"):
        known = site.application.settings.accounts[account]
        await site.store.actions.pause_account(known, MAINTENANCE, "wechat_40164")
    [task] = await site.store.approvals.tasks(PostId("next"))
    content = task.status.fingerprint
    await site.store.approvals.approve(
        PostId("next"), content, unlimited_approver("乙"), CENTRE
    )
    await site.store.database.write(lambda unit: raise_alerts(unit, now))
    await site.store.actions.register_worker()


async def set_state(site, post, state, *accounts, **values):
    statement = (
        update(DELIVERY)
        .where(DELIVERY.c.post == post)
        .values(state=state.value, **values)
    )
    if accounts:
        statement = statement.where(DELIVERY.c.account.in_(accounts))
    await site.store.database.write(lambda unit: unit.connection.execute(statement))


def raise_alerts(unit, now):
    for account in ("beijing-weibo", "shanghai-weibo"):
        facts = {"post": "held", "account": account}
        raise_alert(unit, now, "held.captcha", f"held@{account}", facts)
    raise_alert(unit, now, "reload_refused", "schedule", {"reason": "x"})


async def ask(site, client, method, path, **sent):
    """Send a request as the first after a change; return the answer and its statements."""
    caches = site.app.state.site.caches
    caches.frame_facts.clear()
    caches.todo = caches.live = TaskCache()
    with recorded_statements(site.store.database.engine) as statements:
        answer = await client.request(method, path, **sent)
    return answer, statements


async def act(site, client, page, path, **typed):
    """Send the form of an action as its page has it; return the answer and its statements."""
    fields = hidden_fields((await client.get(page)).text, path)
    return await ask(site, client, "POST", path, data={**fields, **typed})


async def list_paths(site, route):
    """Return the addresses of a route: those of each post if it is about one."""
    [sent] = list(await site.store.progress.deliveries("sent", account="beijing-weibo"))
    names = {
        "name": "甲", "account": "beijing-weibo", "occurrence": "once", "draft": "none",
        "number": "1", "platform": "wechat", "fingerprint": sent.delivery.rendered_hash, "sha256": "none",
    }  # fmt: skip
    posts = POSTS if route.name in {"post", "approve"} else POSTS[:1]
    paths = [
        re.sub(
            r"\{(\w+)\}",
            lambda found, post=post: {**names, "post": post}[found[1]],
            route.path,
        )
        for post in posts
    ]
    if route.name == "post":
        return [*paths, *(f"{path}?tab=all&open=beijing-weibo" for path in paths)]
    return [*paths, "/write?like=sent"] if route.name == "write" else paths


@pytest.mark.long
@pytest.mark.parametrize("regions", REGIONS)
@pytest.mark.parametrize("scope", ["", "@region:110000"])
async def test_a_page_takes_a_dozen_statements(busy, scope):
    """Every page takes at most a dozen statements; the named ones take the stated few more.

    Its visitor sees all accounts, or those of a region. A refusal is no page of its own: it is
    recorded.
    """
    client = await busy.signed_in(*(f"{role}{scope}" for role in UserRole), name="全")
    await client.get(
        "/help"
    )  # the first request of a session looks it up for its turn, too
    many, shown = {}, set()
    for route in ROUTES:
        if route.method != "GET" or route.name == "events":
            continue
        for path in await list_paths(busy, route):
            answer, statements = await ask(busy, client, "GET", path)
            if answer.status_code == 200:
                shown.add(route.name)
            limit = MAX_OF_LARGE_PAGES.get(route.name, MAX_STATEMENTS)
            if answer.status_code != 403 and len(statements) > limit:
                many[path] = len(statements)
    assert many == {}
    assert {
        "today",
        "inbox",
        "approve",
        "post",
        "delivery",
        "accounts",
        "calendar",
        "recover_form",
    } <= shown


@pytest.mark.parametrize("regions", [2])
async def test_what_waits_is_read_once_until_somebody_acts(busy, monkeypatch):
    """Pages of a beat share what waits for people; the first after an act has read it again."""
    monkeypatch.setattr(Site, "beat", 1)
    client = await busy.signed_in("viewer")

    async def reads(path):
        with recorded_statements(busy.store.database.engine) as statements:
            assert (await client.get(path)).status_code == 200
        return any("AS needs_person" in statement for statement in statements)

    paths = ["/today", "/inbox", "/posts", "/calendar", "/accounts", "/audit"]
    assert [await reads(path) for path in paths][1:] == [False] * 5
    await busy.store.actions.pause("account:beijing-tieba", CENTRE, "停发")
    assert [await reads("/inbox"), await reads("/inbox")] == [True, False]
    monkeypatch.setattr(Site, "beat", 2)
    assert await reads("/inbox")


DELIVERY_OF, TASK = (
    "/deliveries/{}/once/beijing-tieba",
    "/assist/task/once/beijing-tieba",
)
ACCOUNT = "/accounts/beijing-tieba"
ACTIONS = {
    "approve": ("/approve/first", "/approve/first", {}, 12),
    "return": ("/approve/next/return", "/approve/next/return", {"reason": "x"}, 13),
    "pause a post": ("/posts/first/pause", "/posts/first/pause", {}, 12),
    "pause an account": (f"{ACCOUNT}/pause", f"{ACCOUNT}/pause", {}, 12),
    "check a login": (ACCOUNT, f"{ACCOUNT}/probe", {}, 12),
    "change a mode": (
        f"{ACCOUNT}/mode?mode=assisted",
        f"{ACCOUNT}/mode?mode=assisted",
        {"reason": "x"},
        12,
    ),
    "report a post": (TASK, f"{TASK}/done", {"url": "https://example.com/1"}, 12),
    "resolve": (
        f"{DELIVERY_OF.format('held')}/resolve?ruling=not-published",
        f"{DELIVERY_OF.format('held')}/resolve?ruling=not-published",
        {"reason": "x"},
        14,
    ),
    "retract from an account": (
        f"{DELIVERY_OF.format('sent')}/retract",
        f"{DELIVERY_OF.format('sent')}/retract",
        {"reason": "x"},
        18,
    ),
    "acknowledge an alert": ("/alerts", "/alerts/1/acknowledge", {}, 12),
    "pause everything": ("/pause", "/pause", {}, 12),
}
"""By name: the page and the path of an action, what a person types, and its most statements.

They are counted with those of its writes: the three that change several tables take more.
"""


@pytest.mark.long
@pytest.mark.parametrize("regions", [2])
@pytest.mark.parametrize(
    ("page", "path", "typed", "limit"), ACTIONS.values(), ids=ACTIONS
)
async def test_an_action_takes_a_dozen_statements(busy, page, path, typed, limit):
    """An action reads and writes in at most a dozen statements; the named ones in a few more."""
    client = await busy.signed_in(*UserRole, name="全")
    answer, statements = await act(busy, client, page, path, **typed)
    assert answer.status_code == 303, answer.text
    assert len(statements) <= limit, statements


@pytest.mark.parametrize("regions", [2])
async def test_an_approval_reads_its_occurrence_once_before_it_decides(busy):
    """An approval is given on what its own transaction has read, and nothing was read before.

    What waits next is read once it is given.
    """
    client = await busy.signed_in(*UserRole, name="全")
    answer, statements = await act(busy, client, "/approve/first", "/approve/first")
    [given] = [
        n
        for n, text in enumerate(statements)
        if text.startswith("INSERT INTO approval ")
    ]
    read = ["approvable_text" in text for text in statements]
    assert answer.status_code == 303
    assert (read[:given].count(True), read[given:].count(True)) == (1, 1)


@pytest.mark.parametrize("regions", [2])
async def test_what_waits_for_people_is_the_same_number_everywhere(busy):
    """The menu, Today, the inbox and the accounts count what waits from one reading."""
    client = await busy.signed_in(*UserRole, name="全")
    waiting = await busy.store.waiting.read()
    pages = {
        path: (await client.get(path)).text
        for path in ("/today", "/inbox", "/accounts")
    }
    badges = {
        re.search(r'id="badge-inbox"[^>]*>(?:<[^>]*>)*(\d+)', page)[1]
        for page in pages.values()
    }
    listed = set(re.findall(r'id="(todo-[0-9a-f]+)"', pages["/inbox"]))
    held = sum(one.state is State.HELD for one in waiting.deliveries)
    assert badges == {str(len(listed))}
    assert waiting.by_account["beijing-tieba"] == 2
    assert (held, len(waiting.to_decide)) == (6, 12)
