"""A post with words for single regions is one post for each region, from the file to the store."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from publisher.app.offline import build_offline_app
from publisher.config import parse_settings
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError, ScheduleError
from publisher.domain.post import PostId
from publisher.engine import schedule_editor
from publisher.engine.decisions import named_person
from publisher.engine.planner import (
    Planner,
    _render_all,
    apply_schedule,
    diff_schedule,
    resend_post,
)
from publisher.engine.post_change import PostChange, SavedEdit
from publisher.engine.post_check import check_entry
from publisher.engine.schedule_editor import read_entry, read_schedule_text, save_post
from publisher.schedule.load import make_schedule_context, parse_schedule
from publisher.store.db.filters import is_paused, original_is_published
from publisher.store.db.tables import DELIVERY
from publisher.store.plan.posts import PlanCommit
from tests.engine.test_planner import SETTINGS, entry, publish
from tests.engine.test_writers import make_writer

AT, LATER = "2026-11-25T09:00:30", "2026-11-26T09:00:00"
SHANGHAI = """
[region.310000]
name = "上海"
police = "上海市公安局"
hotline = "110"
tip_line = "12345"
tip_link = "https://example.gov.cn/tips"
[[account]]
id = "c"
platform = "weibo"
identity = "1003"
region = "310000"
secret = "c"
link_template = "https://example.gov.cn/n/{marker}"
base_url = "http://127.0.0.1:9"
"""
WORDS = """[post.region.310000]
title = "上海的标题"
"""
RULES = ApprovalRules(default=(Stage(name="only"),))


def family(name="p", *, words=WORDS, **changes):
    """Return a post with words of its own for one of two regions."""
    return entry(name, **{"at": AT, **changes}) + words


def make_planner(store, folder, settings=SETTINGS + SHANGHAI):
    offline_app = build_offline_app(parse_settings(settings, workspace=folder))
    reading = make_schedule_context(
        offline_app.settings, templates=offline_app.post_renderer.templates.names
    )
    return Planner(
        store=replace(store, policies=offline_app.policies),
        post_renderer=offline_app.post_renderer,
        schedule_context=reading,
        plan_days=2,
    )


@pytest.fixture
async def planner(open_store, tmp_path):
    """Yield a planner for two accounts in one region, and one in another."""
    settings = parse_settings(SETTINGS + SHANGHAI, workspace=tmp_path)
    store = await open_store(*build_offline_app(settings).policies.values())
    return make_planner(store, tmp_path)


async def reload(planner, text):
    return await apply_schedule(planner, text, "schedule.toml")


async def find_states(planner):
    """Return the state of each delivery by its post and account."""
    found = await planner.store.queries.deliveries()
    return {f"{one.key.post}@{one.account}": one.state for one in found}


async def read_text(planner, post, account):
    [found] = await planner.store.queries.deliveries(PostId(post), account)
    texts = await planner.store.queries.rendered_posts([found.rendered_hash])
    return texts[found.rendered_hash]


async def test_each_region_is_filed_with_its_words(planner):
    """A family is filed as one post for each region, with the accounts there."""
    assert (await reload(planner, family())).filed == 3
    assert list(await find_states(planner)) == [
        "p.110000@a",
        "p.110000@b",
        "p.310000@c",
    ]
    titles = {
        post: (await planner.store.posts.get_post(PostId(post))).title
        for post in ("p.110000", "p.310000")
    }
    assert titles == {"p.110000": "警惕退款诈骗", "p.310000": "上海的标题"}
    assert (await reload(planner, family())).filed == 0


async def test_an_edit_of_one_region_after_the_others_are_out_is_published(planner):
    """The region's delivery gets the new words; no other delivery changes."""
    await reload(planner, family())
    runtime = planner.store.runtime
    runtime.advance_time(timedelta(seconds=30))
    await publish(planner, "a")
    before = await planner.store.queries.deliveries(PostId("p.110000"))
    assert {one.state for one in before} >= {State.PUBLISHED}
    await reload(planner, family(words=WORDS.replace("上海的标题", "新的标题")))
    assert await planner.store.queries.deliveries(PostId("p.110000")) == before
    await publish(planner, "c")
    [after] = await planner.store.queries.deliveries(PostId("p.310000"))
    assert after.state is State.PUBLISHED
    assert (await planner.store.posts.get_post(PostId("p.310000"))).title == "新的标题"


async def test_a_region_that_cannot_be_sent_is_named_at_its_words(planner):
    """The problem has the region's post, and the place of the words that are too long."""
    words = f'[post.region.310000]\ntext.weibo = "{"长" * 3000}"\n'
    with pytest.raises(ScheduleError) as refused:
        await reload(planner, family(words=words))
    [problem] = refused.value.problems
    assert problem.facts["post"] == "p.310000"
    assert problem.location.path == "post[0].region.310000.text.weibo"


@pytest.fixture
async def approving(planner, tmp_path, monkeypatch):
    """Yield a planner with a rule of one approval, and a family in force."""
    monkeypatch.setattr(schedule_editor, "find_file_owner", lambda _file: "ops")
    approving = replace(planner, store=replace(planner.store, approval_rules=RULES))
    (tmp_path / "schedule.toml").write_text(family(at=LATER), "utf-8")
    await accept(approving, tmp_path / "schedule.toml")
    return approving


async def accept(planner, file):
    text = file.read_text("utf-8")
    return await apply_schedule(planner, text, file.name, file_owner="ops")


async def barred(planner, post):
    [task] = await planner.store.approvals.tasks(PostId(post))
    return sorted((task.status.barred | task.status.quoted) - {"ops"})


async def save(planner, file, by, **changes):
    """Let a person save the family, as the dashboard does."""
    schedule = await read_schedule_text(planner, file)
    base = await read_entry(schedule, PostId("p.310000"))
    entry = {**base, **changes}
    change = PostChange(
        post=PostId(base["id"]), entry=entry, base=base, base_sha256=schedule.sha256
    )
    return await save_post(planner, file, change, make_writer(by))


async def test_i5_a_writer_of_a_family_approves_no_region_with_those_words(
    approving, tmp_path
):
    """I5: a save of the dashboard is a writing of each region that it changes."""
    file = tmp_path / "schedule.toml"
    assert isinstance(await save(approving, file, "王", title="新的"), SavedEdit)
    await accept(approving, file)
    assert await barred(approving, "p.110000") == ["zhang", "王"]
    assert await barred(approving, "p.310000") == ["zhang"]
    [saved] = [
        line
        for line in await approving.store.queries.audit_history(PostId("p"))
        if line.event == "post_saved"
    ]
    assert saved.name == "王"


async def test_i5_the_writers_of_an_ordinary_post_have_written_its_family(
    approving, tmp_path
):
    """I5: words keep their writers when a post becomes a family, and when it is one no more."""
    file = tmp_path / "schedule.toml"
    file.write_text(entry("q", at=LATER), "utf-8")
    await accept(approving, file)
    file.write_text(entry("q", at=LATER, title="李的标题"), "utf-8")
    await apply_schedule(approving, file.read_text("utf-8"), file.name, file_owner="李")
    file.write_text(family("q", at=LATER), "utf-8")
    await accept(approving, file)
    assert await barred(approving, "q.310000") == ["zhang", "李"]
    file.write_text(entry("q", at=LATER), "utf-8")
    await accept(approving, file)
    assert await barred(approving, "q") == ["zhang", "李"]


@pytest.mark.parametrize("copied", ["p", "p.110000"])
async def test_a_copy_of_a_family_is_its_writers_too(approving, tmp_path, copied):
    """I5: a post that began as a copy of a family has the writers of its members."""
    file = tmp_path / "schedule.toml"
    await save(approving, file, "王", title="新的")
    await accept(approving, file)
    entry = {
        **await read_entry(await read_schedule_text(approving, file), PostId("p")),
        "id": "copy",
        "title": "副本",
    }
    change = PostChange(
        post=PostId("copy"),
        entry=entry,
        base=None,
        base_sha256="",
        copied_from=PostId(copied),
    )
    assert isinstance(
        await save_post(approving, file, change, make_writer("赵")), SavedEdit
    )
    await accept(approving, file)
    assert await barred(approving, "copy.110000") == ["zhang", "王", "赵"]


async def test_the_form_checks_all_regions_of_a_family(planner):
    """Problems and texts of all members are shown while a family is written."""
    found = {
        "id": "p",
        "kind": "warning",
        "template": "warning",
        "author": "王",
        "title": "共同",
        "at": "asap",
        "to": ["all"],
        "data": {"summary": "共同的提要"},
        "region": {"310000": {"text": {"weibo": "长" * 3000}}},
    }
    check = await check_entry(planner, found, None, is_new=True)
    assert [item.account for item in check.result.rendered_posts] == ["a", "b", "c"]
    assert [problem.location.path for problem in check.errors] == [
        "region.310000.text.weibo"
    ]
    await reload(planner, family())
    check = await check_entry(planner, found, None, is_new=True)
    assert "id_taken" in {problem.code for problem in check.errors}


ORDINARY, CHANGED = entry("p", at=AT), family()
OPEN = {State.PENDING, State.DUE, State.PUBLISHED}


async def find_open(planner):
    """Return the deliveries that are waiting or published, by their post and account."""
    states = await find_states(planner)
    return {name for name, state in states.items() if state in OPEN}


async def find_left_out(planner, text):
    """Put a text in force, and return the problems of the posts that it leaves out."""
    applied = await reload(planner, text)
    for problem in applied.left_out:
        assert problem.location.path.startswith("post[0]")
    return {
        (problem.code, problem.facts["account"], problem.facts["other"])
        for problem in applied.left_out
    }


@pytest.mark.parametrize(
    ("before", "after", "accounts"),
    [
        (ORDINARY, CHANGED, {"p.110000@a", "p.110000@b", "p.310000@c"}),
        (CHANGED, ORDINARY, {"p@a", "p@b", "p@c"}),
    ],
    ids=["to a family", "from a family"],
)
async def test_a_post_that_was_never_called_changes_its_form(
    planner, before, after, accounts
):
    """What waits is cancelled under its old id, and filed under the new one; and back again."""
    await reload(planner, before)
    waiting = await find_open(planner)
    assert await find_left_out(planner, after) == set()
    assert await find_open(planner) == accounts
    assert await find_left_out(planner, before) == set()
    assert await find_open(planner) == waiting


async def send_one(planner, account="a"):
    planner.store.runtime.advance_time(timedelta(seconds=30))
    await publish(planner, account)


async def test_a_sent_post_that_becomes_a_family_never_goes_out_again(planner):
    """It is named as long as it stands in the file; the others get their new words."""
    await reload(planner, ORDINARY)
    await send_one(planner)
    conflict = {("family_changed", "a", "p")}
    for _ in range(2):
        assert await find_left_out(planner, CHANGED) == conflict
        assert "p.110000@a" not in await find_states(planner)
        assert await find_open(planner) == {"p@a", "p.110000@b", "p.310000@c"}
    alerts = {alert.code for alert in await planner.store.queries.alerts()}
    assert "posts_left_out" in alerts


async def test_a_sent_region_never_goes_out_again_in_an_ordinary_post(planner):
    """A family that becomes an ordinary post keeps off the accounts that have their words."""
    await reload(planner, CHANGED)
    await send_one(planner)
    assert await find_left_out(planner, ORDINARY) == {
        ("family_changed", "a", "p.110000")
    }
    assert await find_open(planner) == {"p.110000@a", "p@b", "p@c"}


@pytest.mark.parametrize("is_sent", [False, True])
async def test_an_account_that_changes_its_region_gets_its_words_once(
    planner, tmp_path, is_sent
):
    """What waits follows the account; what was sent stays, and is named while others wait."""
    await reload(planner, CHANGED)
    if is_sent:
        await send_one(planner)
    settings = SETTINGS.replace('"110000"\nsecret = "a"', '"310000"\nsecret = "a"')
    moved = make_planner(planner.store, tmp_path, settings + SHANGHAI)
    left_out = await find_left_out(moved, CHANGED)
    assert left_out == ({("family_changed", "a", "p.110000")} if is_sent else set())
    region = "110000" if is_sent else "310000"
    assert f"p.{region}@a" in await find_open(moved)
    found = [name for name in await find_open(moved) if name.endswith("@a")]
    assert found == [f"p.{region}@a"]


async def test_a_family_that_is_over_is_no_problem_of_an_account_that_moves(
    planner, tmp_path
):
    """Years of families in the file raise nothing when an account gets another region."""
    await reload(
        planner, family(words='[post.region.110000]\ntitle = "北京"\n', to='["a"]')
    )
    await send_one(planner)
    planner.store.runtime.advance_time(timedelta(days=3))
    settings = SETTINGS.replace('"110000"\nsecret = "a"', '"310000"\nsecret = "a"')
    moved = make_planner(planner.store, tmp_path, settings + SHANGHAI)
    words = '[post.region.310000]\ntitle = "上海"\n'
    assert await find_left_out(moved, family(words=words, to='["a"]')) == set()
    assert await find_states(moved) == {"p.110000@a": State.PUBLISHED}


async def test_a_repeating_post_that_becomes_a_family_repeats_no_moment(planner):
    """The occurrence that was sent is not sent again; the next one is."""
    text = entry("p").replace('at = "asap"', 'cron = "*/30 8-18 * * *"')
    await reload(planner, text)
    first = min(
        item.due_at for item in await planner.store.queries.deliveries(PostId("p"))
    )
    runtime = planner.store.runtime
    runtime.advance_time(first - runtime.now())
    await publish(planner, "a")
    await reload(planner, text + WORDS)
    found = await planner.store.queries.deliveries(PostId("p.110000"), "a")
    assert found
    assert first not in {item.due_at for item in found}


async def test_an_order_to_send_again_counts_the_whole_family(planner):
    """Nobody sends the old form again where the new one waits, or is out."""
    await reload(planner, ORDINARY)
    post = await planner.store.posts.get_post(PostId("p"))
    await reload(planner, CHANGED)
    with pytest.raises(RefusedError) as refused:
        await resend_post(planner, post, ["a"])
    assert refused.value.code == "resend_not_needed"


async def test_a_call_that_begins_while_the_new_form_is_planned_wins(planner):
    """An intent of another host between plan and transaction: nothing is filed for its account."""
    await reload(planner, ORDINARY)
    planner.store.runtime.advance_time(timedelta(seconds=30))
    schedule = parse_schedule(CHANGED, context=planner.schedule_context)
    known = await planner.store.posts.stored_posts(schedule.posts)
    changes = diff_schedule(planner, schedule, known)
    assert await planner.store.posts.family_conflicts(changes.planned, changes) == []
    rendered, media, problems = await _render_all(
        planner, changes.planned, schedule.posts
    )
    assert problems == []
    await planner.store.maintenance.promote_due()
    leases = await planner.store.outbox.claim(10)
    [lease] = [one for one in leases if one.account == "a"]
    await planner.store.outbox.record_intent(lease)
    commit = PlanCommit(
        plan=changes,
        rendered=rendered,
        posts=schedule.posts,
        media=media,
        schedule_text=CHANGED,
        base_version=await planner.store.posts.schedule_version(),
    )
    await planner.store.posts.commit_plan(commit)
    states = await find_states(planner)
    assert states["p@a"] is State.SENDING
    assert "p.110000@a" not in states
    assert states["p@c"] is State.CANCELLED
    assert states["p.310000@c"] is State.PENDING
    assert await find_left_out(planner, CHANGED) == {("family_changed", "a", "p")}


async def test_what_a_person_has_cancelled_does_not_come_back_in_another_form(planner):
    """A cancelled post is over under every id of its family."""
    await reload(planner, ORDINARY)
    await planner.store.actions.cancel_post(PostId("p"), named_person("li"), "错了")
    left_out = await find_left_out(planner, CHANGED)
    assert left_out == {
        ("family_changed", "a、b", "p"),
        ("family_changed", "c", "p"),
    }
    assert await find_open(planner) == set()


async def test_a_follow_up_finds_what_was_sent_in_another_form(planner):
    """A published post gets words for a region: what follows it goes where it is out."""
    await reload(planner, ORDINARY)
    await send_one(planner, "c")
    update = entry("u", title="有新情况", extra='follows = "p"')
    update = update.replace('"warning"', '"update"')
    await reload(planner, CHANGED + update)
    query = select(DELIVERY.c.post, DELIVERY.c.follows).where(
        DELIVERY.c.follows.is_not(None), original_is_published(DELIVERY)
    )
    rows = await planner.store.database.read(lambda one: one.execute(query).all())
    assert [tuple(row) for row in rows] == [("u.310000", "p")]


async def test_a_pause_holds_a_post_in_every_form(planner):
    """Words for a region do not lift a pause, nor does taking them away."""
    await reload(planner, ORDINARY)
    await planner.store.actions.pause("post:p", named_person("li"), "错了")
    assert await list_paused(planner) == {"p"}
    await reload(planner, CHANGED)
    assert await list_paused(planner) == {"p", "p.110000", "p.310000"}
    await planner.store.actions.resume("post:p", named_person("li"))
    await planner.store.actions.pause("post:p.310000", named_person("li"), "错了")
    assert await list_paused(planner) == {"p", "p.310000"}


async def list_paused(planner):
    query = select(DELIVERY.c.post).where(is_paused(DELIVERY))
    return set(await planner.store.database.read(lambda one: one.scalars(query).all()))


async def test_a_cancelled_family_gets_no_further_region(planner):
    """Its members are over, and so is what an edit would add."""
    small = entry("p", at=AT, to='["a", "b"]') + WORDS.replace("310000", "110000")
    await reload(planner, small)
    await planner.store.actions.cancel_post(
        PostId("p.110000"), named_person("li"), "错了"
    )
    assert await find_open(planner) == set()
    await reload(planner, CHANGED)
    assert await find_open(planner) == set()


async def test_confirmation_counts_families(planner):
    """A person confirms the number of families that vanish, not of their members."""
    names = [f"p{number}" for number in range(5)]
    await reload(planner, "".join(map(family, names)))
    with pytest.raises(RefusedError, match="large_removal") as refused:
        await reload(planner, family("other"))
    assert refused.value.facts["number"] == "5"
    assert refused.value.facts["posts"] == "p0、p1、p2、p3、p4"
    applied = await apply_schedule(planner, family("other"), "schedule.toml", 5)
    assert list(applied.taken) == names


async def test_a_family_with_a_region_less_has_not_vanished(planner):
    """Nobody is asked when many families lose one region: each goes on elsewhere."""
    names = [f"p{number}" for number in range(5)]
    await reload(planner, "".join(map(family, names)))
    fewer = [family(name, words="", to=["c"]) + WORDS for name in names]
    applied = await reload(planner, "".join(fewer))
    assert list(applied.taken) == names
