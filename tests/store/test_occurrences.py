"""Lists of the pages: occurrences by state and platform, search, the audit, statement counts."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, update

from publisher.domain.approval import AWAITING_APPROVAL, ApprovalRules, Stage
from publisher.domain.delivery import State
from publisher.domain.glyph import GLYPHS, Glyph
from publisher.domain.post import (
    CronTrigger,
    OccurrenceKey,
    WarningLevel,
    derive_marker,
)
from publisher.domain.results import ManualTask, Ticket
from publisher.engine.decisions import named_person
from publisher.store.approvals.guard import APPROVAL_NEEDED
from publisher.store.db.monitor_tables import OBSERVED_POST
from publisher.store.db.rows import raise_alert
from publisher.store.db.tables import DELIVERY, changed_columns
from publisher.store.plan.posts import Plan, PlanCommit
from publisher.store.queries.audit_log import AuditFilter
from publisher.store.queries.occurrences import OccurrenceFilter
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import START_TIME

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WANG = named_person("王")


async def set_columns(store, post, **values):
    """Write columns of a post's deliveries, regardless of their cause."""
    statement = update(DELIVERY).where(DELIVERY.c.post == post).values(values)
    await store.database.write(lambda unit: unit.connection.execute(statement))


async def set_ticket(store, post, ticket):
    """Store the ticket that a post's only delivery waits for."""
    [before] = await store.queries.deliveries(post)
    await set_columns(
        store, post, **changed_columns(before, replace(before, ticket=ticket))
    )


async def count_statements(store, call):
    """Return the result of a call and how many statements it executes."""
    statements = []

    def record(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    event.listen(store.database.engine, "before_cursor_execute", record)
    result = await call()
    event.remove(store.database.engine, "before_cursor_execute", record)
    return result, [
        text for text in statements if text.lstrip().upper().startswith("SELECT")
    ]


async def test_deliveries_are_counted_as_their_signs_show_them(open_store, runtime):
    """Every state has its sign, also with a person's part, in counts and in each delivery.

    A missing approval needs somebody two hours before the time, and no sooner.
    """
    store = await open_store(make_policy("a"), make_policy("b"))
    manual = Ticket(manual_task=ManualTask(assigned_at=START_TIME))
    reported = Ticket(
        manual_task=ManualTask(assigned_at=START_TIME, done_at=START_TIME)
    )
    cases = {state.value: (state, {}, None) for state in State}
    cases |= {
        "task": (State.SUBMITTED, {}, manual),
        "reported": (State.SUBMITTED, {}, reported),
        "awaiting": (State.PENDING, {"reason": AWAITING_APPROVAL}, None),
        "later": (State.PENDING, {"due_at": START_TIME + DAY}, None),
    }
    needing = {"held", "task", "awaiting", "unapproved", "paused"}
    posts = [make_post(name, ["a"], START_TIME) for name in cases] + [
        make_post("unapproved", ["a"], START_TIME + 2 * HOUR),
        make_post("early", ["a"], START_TIME + 2 * HOUR + timedelta(minutes=1)),
        make_post("paused", ["b"], START_TIME),
    ]
    await enqueue_posts(store.posts, *posts)
    for number, (name, (state, values, ticket)) in enumerate(cases.items()):
        login = f"fake/{number}"  # two claims of one login could not be stored
        await set_columns(store, name, state=state.value, login=login, **values)
        if ticket is not None:
            await set_ticket(store, name, ticket)
    for name in ("unapproved", "early"):
        await store.database.write(
            lambda unit, name=name: raise_alert(
                unit, START_TIME, APPROVAL_NEEDED, name, {"post": name}
            )
        )
    await store.actions.pause("account:b", WANG, "")
    counted = {
        item.key.post: item
        for item in await store.occurrences.find(OccurrenceFilter(), limit=100)
    }
    for delivery in await store.queries.deliveries():
        name = delivery.key.post
        expected = Glyph.ACTION if name in needing else GLYPHS[delivery.state]
        [filed] = await store.progress.deliveries(delivery.key.post)
        assert (name, counted[name].by_glyph) == (name, {expected: 1})
        assert (name, filed.glyph) == (name, expected)


async def test_an_occurrence_is_counted_by_platform(open_store):
    """A summary has its post's words and the accounts of each platform by sign, the worst first."""
    tieba = make_policy("t")
    store = await open_store(
        make_policy("a"), make_policy("b"), replace(tieba, account=tieba.account)
    )
    await enqueue_posts(
        store.posts, make_post("p", ["a", "b", "t"], START_TIME, title="谨防假冒")
    )
    ids = [item.id for item in await store.queries.deliveries("p")]
    for number, state in zip(ids, ("held", "published", "published"), strict=True):
        values = {"state": state, "platform": "other" if number == ids[2] else "fake"}
        statement = update(DELIVERY).where(DELIVERY.c.id == number).values(values)
        await store.database.write(
            lambda unit, statement=statement: unit.connection.execute(statement)
        )
    [found] = await store.occurrences.of_post("p")
    assert (found.title, found.total, found.glyph) == ("谨防假冒", 3, Glyph.ACTION)
    assert found.counts == {
        "fake": {Glyph.ACTION: 1, Glyph.PUBLISHED: 1},
        "other": {Glyph.PUBLISHED: 1},
    }
    assert list(found.by_glyph) == [Glyph.ACTION, Glyph.PUBLISHED]


async def test_posts_are_found_by_words_level_kind_state_account_and_time(open_store):
    """Each filter leaves out the posts that do not match; the list is sorted latest due first."""
    store = await open_store(make_policy("a"), make_policy("b"))
    red = replace(
        make_post("red", ["a"], START_TIME + HOUR, title="冒充公检法"),
        level=WarningLevel.RED,
    )
    worded = replace(
        make_post("worded", ["a", "b"], START_TIME + 2 * HOUR),
        body="不要点击链接100%安全",
    )
    later = make_post("later", ["b"], START_TIME + 3 * DAY)
    await enqueue_posts(store.posts, red, worded, later)
    await set_columns(store, "worded", state="held")

    async def names(**wanted):
        return [
            item.key.post
            for item in await store.occurrences.find(OccurrenceFilter(**wanted))
        ]

    assert await names() == ["later", "worded", "red"]
    assert await names(text="公检法") == ["red"]
    assert await names(text="点击") == ["worded"]
    assert await names(text="RED") == ["red"]
    assert await names(text="100%安") == ["worded"]
    assert await names(text="不%链") == []
    assert await names(level="red") == ["red"]
    assert await names(kind="bulletin") == []
    assert await names(glyph=Glyph.ACTION) == ["worded"]
    assert await names(glyph=Glyph.WAITING) == ["later", "red"]
    assert await names(accounts=["b"]) == ["later", "worded"]
    assert await names(before=START_TIME + DAY) == ["worded", "red"]


async def test_a_bulletin_number_leads_to_its_delivery(open_store):
    """However it is typed; any other text of that length leads nowhere."""
    store = await open_store(make_policy("a"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME))
    key = OccurrenceKey(post="p", occurrence="once")
    code = derive_marker(key, "a").code
    assert await store.occurrences.find_marker(code) == (key, "a")
    assert await store.occurrences.find_marker(
        f"〔{code.lower().replace('-', ' ')}〕"
    ) == (
        key,
        "a",
    )
    assert await store.occurrences.find_marker("2222-2222") is None
    assert await store.occurrences.find_marker("冒充公检法诈骗啊") is None


async def test_posts_of_the_schedule_are_listed_before_they_are_filed(open_store):
    """A month shows repeating posts and its one-off posts, without cancelled ones.

    Posts due in another year are not shown.
    """
    store = await open_store(make_policy("a"))
    weekly = replace(
        make_post("weekly", ["a"], START_TIME), trigger=CronTrigger(text="0 9 * * 1")
    )
    posts = [
        weekly,
        make_post("soon", ["a"], START_TIME + DAY),
        make_post("far", ["a"], START_TIME + 400 * DAY),
    ]
    gone = make_post("gone", ["a"], START_TIME + DAY)
    await store.posts.commit_plan(
        PlanCommit(plan=Plan(), rendered=[], posts=[*posts, gone], schedule_text="x")
    )
    await store.actions.cancel_post("gone", WANG, "不需要了")
    found = await store.occurrences.planned_posts(
        START_TIME - DAY, START_TIME + 10 * DAY
    )
    assert sorted(post.id for post in found) == ["soon", "weekly"]


async def test_accounts_show_what_they_have_to_do(open_store, runtime):
    """By account: work for a person, open deliveries, the next due one, and posts of others."""
    store = await open_store(make_policy("a"), make_policy("b"))
    await enqueue_posts(
        store.posts,
        make_post("p", ["a", "b"], START_TIME),
        make_post("q", ["a"], START_TIME + 2 * DAY),
    )
    [first] = [
        item for item in await store.queries.deliveries("p") if item.account == "a"
    ]
    statement = update(DELIVERY).where(DELIVERY.c.id == first.id).values(state="held")
    await store.database.write(lambda unit: unit.connection.execute(statement))
    counts = await store.occurrences.open_counts()
    assert (counts["a"].is_open, counts["a"].next_due_at) == (2, START_TIME + 2 * DAY)
    assert (counts["b"].is_open, counts["b"].next_due_at) == (1, START_TIME)
    assert (await store.waiting.read()).by_account == {"a": 1}
    seen = {"account": "b", "seen_at": runtime.now(), "published_at": runtime.now()}
    rows = [
        {
            **seen,
            "remote_id": "1",
            "url": "https://fake.example/1",
            "predates_monitoring": False,
        },
        {
            **seen,
            "remote_id": "2",
            "url": "https://fake.example/2",
            "predates_monitoring": True,
        },
    ]
    await store.database.write(
        lambda unit: unit.connection.execute(insert(OBSERVED_POST), rows)
    )
    assert [
        post.url for post in await store.occurrences.foreign_posts(START_TIME - DAY)
    ] == ["https://fake.example/1"]
    assert await store.occurrences.foreign_posts(START_TIME - DAY, "a") == []


async def test_posts_at_one_instant_on_one_login_clash(open_store):
    """Logins with several posts at an instant, and the fullest login of a day, are counted."""
    store = await open_store(make_policy("a"), make_policy("b"))
    posts = [make_post(name, ["a", "b"], START_TIME + DAY) for name in "pq"]
    await enqueue_posts(
        store.posts, *posts, make_post("r", ["b"], START_TIME + DAY + HOUR)
    )
    [clash] = await store.occurrences.clashes(START_TIME, START_TIME + 3 * DAY)
    assert (clash.due_at, clash.logins, clash.number) == (START_TIME + DAY, 2, 2)
    assert await store.occurrences.busiest_logins(START_TIME, START_TIME + 3 * DAY) == {
        "fake": ("fake/b", 3)
    }


async def test_audit_entries_are_found_by_person_action_subject_and_day(
    open_store, runtime
):
    """The newest entries come first; entries of jobs are listed only on request."""
    store = await open_store(make_policy("a"))
    await enqueue_posts(store.posts, make_post("p", ["a"], START_TIME + DAY))
    await store.actions.pause("account:a", WANG, "看一看")
    runtime.advance_time(DAY)
    await store.actions.resume("account:a", named_person("李"))
    await store.actions.cancel_post("p", WANG, "不需要了")

    async def events(**wanted):
        return [
            entry.event for entry in await store.audit.search(AuditFilter(**wanted), 50)
        ]

    assert await events() == ["cancelled", "cancelled", "resumed", "paused"]
    assert await events(by="李") == ["resumed"]
    assert await events(event="paused") == ["paused"]
    assert await events(text="account:") == ["resumed", "paused"]
    assert await events(until=START_TIME + HOUR) == ["paused"]
    assert await events(since=START_TIME + HOUR, by="王") == ["cancelled", "cancelled"]
    assert "planned" in await events(has_jobs=True)
    newest, *rest = await store.audit.search(AuditFilter(), 50)
    assert [
        entry.id
        for entry in await store.audit.search(AuditFilter(before=newest.id), 50)
    ] == [e.id for e in rest]
    assert list(await store.audit.people()) == ["李", "王"]
    assert set(await store.audit.events_of_people()) == {
        "cancelled",
        "paused",
        "resumed",
    }


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_no_page_asks_once_for_each_account_or_post(open_store):
    """The number of statements is the same for one post as for many."""
    names = [f"a{number}" for number in range(12)]
    store = await open_store(*map(make_policy, names))
    posts = [
        make_post(f"p{number}", names, START_TIME + number * HOUR)
        for number in range(10)
    ]
    await enqueue_posts(store.posts, *posts)
    end = START_TIME + 30 * DAY
    needing_yes = ApprovalRules(by_kind={"warning": (Stage(name="first"),)})
    calls = {
        "list": (lambda: store.occurrences.find(OccurrenceFilter(text="p")), 2),
        "month": (lambda: store.occurrences.between(START_TIME, end), 2),
        "accounts": (store.occurrences.open_counts, 1),
        "texts": (
            lambda: store.occurrences.renditions(
                OccurrenceKey(post="p1", occurrence="once")
            ),
            1,
        ),
        "audit": (lambda: store.audit.search(AuditFilter(), 50), 1),
        "post": (lambda: store.progress.post("p1"), 2),
        "deliveries": (lambda: store.progress.deliveries("p1", has_texts=True), 1),
        "frame": (store.dashboard.frame_facts, 1),
        "approvals": (replace(store, approval_rules=needing_yes).approvals.tasks, 2),
        "waiting": (replace(store, approval_rules=needing_yes).waiting.read, 2),
    }
    for name, (call, expected) in calls.items():
        _result, statements = await count_statements(store, call)
        assert (name, len(statements)) == (name, expected), statements
