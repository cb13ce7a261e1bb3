"""A post with words for single regions is one post for each region, from the file to the store."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.app.offline import build_offline_app
from publisher.config import parse_settings
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import State
from publisher.domain.errors import ScheduleError
from publisher.domain.post import PostId
from publisher.engine import schedule_editor
from publisher.engine.planner import Planner, apply_schedule
from publisher.engine.post_change import PostChange, SavedEdit
from publisher.engine.post_check import check_entry
from publisher.engine.schedule_editor import read_entry, read_schedule_text, save_post
from publisher.schedule.load import make_schedule_context
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


async def test_a_copy_of_a_family_is_its_writers_too(approving, tmp_path):
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
        copied_from=PostId("p"),
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
