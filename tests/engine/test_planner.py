"""From the text of a schedule to filed deliveries.

The tests use the shipped templates and the real adapters' limits.
"""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from PIL import Image
from sqlalchemy import select

from publisher.app.offline import build_offline_app
from publisher.config import parse_settings
from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError, ScheduleError
from publisher.domain.kinds import PostKind
from publisher.domain.plan import Plan
from publisher.domain.post import (
    ONCE_OCCURRENCE,
    PostId,
    RenderedRevision,
    make_occurrence,
)
from publisher.domain.results import Published, Receipt
from publisher.engine.corrections import send_correction
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.engine.planner import (
    Planner,
    active_schedule,
    apply_schedule,
    diff_schedule,
    plan_window,
    resend_post,
    send_now,
)
from publisher.rendering import images
from publisher.rendering.images import read_picture
from publisher.schedule.load import make_schedule_context, parse_schedule
from publisher.store.db.database import ConcurrentUpdateError
from publisher.store.db.intent_journal import JournalRecord
from publisher.store.db.tables import AUDIT
from publisher.store.lost_attempts import (
    RECOVERY_MAINTENANCE,
    orphaned_attempts,
    recover,
)
from publisher.store.plan.batches import RenderedOccurrence
from publisher.store.plan.posts import PlanCommit
from publisher.testing.fakes import START_TIME

SETTINGS = """
environment = "drill"
[region.110000]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "12377"
tip_link = "https://example.gov.cn/tips"
""" + "".join(
    f"""
[[account]]
id = "{name}"
platform = "weibo"
identity = "{number}"
region = "110000"
secret = "{name}"
link_template = "https://example.gov.cn/n/{{marker}}"
base_url = "http://127.0.0.1:9"
"""
    for number, name in ((1001, "a"), (1002, "b"))
)


def entry(name, *, at='"asap"', title="警惕退款诈骗", to='["all"]', extra=""):
    return f"""
[[post]]
id = "{name}"
kind = "warning"
template = "warning"
author = "zhang"
title = "{title}"
at = {at}
to = {to}
{extra}
[post.data]
summary = "退款不用转账"
"""


def cron(name, text):
    return entry(name).replace('at = "asap"', f'cron = "{text}"')


@pytest.fixture
async def planner(open_store, tmp_path):
    """Yield a planner for two Weibo accounts."""
    offline_app = build_offline_app(parse_settings(SETTINGS, workspace=tmp_path))
    store = await open_store(*offline_app.policies.values())
    reading = make_schedule_context(
        offline_app.settings, templates=offline_app.post_renderer.templates.names
    )
    return Planner(
        store=store,
        post_renderer=offline_app.post_renderer,
        schedule_context=reading,
        plan_days=2,
    )


def stores(planner):
    """Return maintenance and outbox over the planner's database."""
    return planner.store.maintenance, planner.store.outbox


async def deliveries(planner, **where):
    return await planner.store.queries.deliveries(**where)


async def publish(planner, account):
    """Let one due delivery of an account be published."""
    maintenance, outbox = stores(planner)
    await maintenance.promote_due()
    for lease in await outbox.claim(10):
        if lease.account == account:
            await outbox.record_intent(lease)
            receipt = Receipt(
                remote_id=f"{account}-{lease.delivery}",
                url="https://x.example",
                published_at=START_TIME,
            )
            await outbox.record_outcome(lease, Published(receipt=receipt))


async def test_an_accepted_schedule_is_filed_with_its_final_words(planner):
    """Each account's delivery holds the frozen text.

    The version in force is the version that was read.
    """
    text = entry("p")
    assert (await apply_schedule(planner, text, "schedule.toml")).filed == 2
    filed = await deliveries(planner)
    assert [(item.account, item.state, item.due_at) for item in filed] == [
        ("a", State.PENDING, START_TIME),
        ("b", State.PENDING, START_TIME),
    ]
    assert await planner.store.posts.active_schedule_text() == text


async def test_i22_a_version_and_what_it_files_are_written_at_one_instant(
    planner, runtime
):
    """Nothing of a version is filed later than the version came into force.

    The transaction may take long.
    """
    runtime.tick = timedelta(milliseconds=5)
    await apply_schedule(planner, entry("p"), "schedule.toml")
    read_events = select(AUDIT.c.event, AUDIT.c.at)
    rows = await planner.store.database.read(
        lambda connection: connection.execute(read_events).all()
    )
    instants = {row.event: row.at for row in rows}
    assert instants["planned"] == instants["schedule_accepted"]


async def test_i17_reading_the_same_schedule_again_files_nothing(planner):
    """Neither a second reload nor a planning run plans an occurrence twice."""
    text = entry("p") + cron("weekly", "0 9 * * *")
    filed = (await apply_schedule(planner, text, "schedule.toml")).filed
    assert (await apply_schedule(planner, text, "schedule.toml")).filed == 0
    schedule = await active_schedule(planner, "schedule.toml")
    assert (
        await plan_window(
            planner, schedule, await planner.store.posts.schedule_version()
        )
        == 0
    )
    assert len(await deliveries(planner)) == filed == 2 + 6


async def test_f66_a_wrong_file_changes_nothing(planner):
    """The last good version stays in force, and every problem has its line."""
    good = entry("p")
    await apply_schedule(planner, good, "schedule.toml")
    bad = good + entry("q", to='["nowhere"]') + entry("r", title="很长" * 200)
    with pytest.raises(ScheduleError):
        await apply_schedule(planner, bad, "schedule.toml")
    too_long = good + entry("r", title="很长" * 90)
    with pytest.raises(ScheduleError) as refused:
        await apply_schedule(planner, too_long, "schedule.toml")
    assert all(
        problem.location and problem.location.line > good.count("\n")
        for problem in refused.value.problems
    )
    assert await planner.store.posts.active_schedule_text() == good
    assert len(await deliveries(planner)) == 2


async def test_f65_a_large_removal_waits_for_a_confirmation(planner):
    """Many open posts are removed only when their number is confirmed."""
    posts = [entry(f"p{number}", at="2026-11-26T09:00:00") for number in range(8)]
    await apply_schedule(planner, "".join(posts), "schedule.toml")
    with pytest.raises(RefusedError) as refused:
        await apply_schedule(planner, posts[0], "schedule.toml")
    assert (refused.value.code, refused.value.facts["number"]) == ("large_removal", "7")
    await apply_schedule(planner, posts[0], "schedule.toml", confirmed_removals=7)
    states = [item.state for item in await deliveries(planner)]
    assert (states.count(State.CANCELLED), states.count(State.PENDING)) == (14, 2)


async def test_f69_an_edit_before_any_call_replaces_the_text(planner):
    """All deliveries get the new text and wait for their time again."""
    await apply_schedule(planner, entry("p", at="2026-11-26T09:00:00"), "schedule.toml")
    old = {item.rendered_hash for item in await deliveries(planner)}
    await apply_schedule(
        planner, entry("p", at="2026-11-26T10:00:00", title="新的标题"), "schedule.toml"
    )
    filed = await deliveries(planner)
    assert {item.state for item in filed} == {State.PENDING}
    assert not old & {item.rendered_hash for item in filed}
    assert {item.due_at.hour for item in filed} == {2}


async def test_f70_an_edit_after_part_went_out_holds_the_rest(planner):
    """Two texts of one occurrence are never published without a person's decision."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await apply_schedule(planner, entry("p", title="新的标题"), "schedule.toml")
    states = {
        item.account: (item.state, item.reason) for item in await deliveries(planner)
    }
    assert states["a"] == (State.PUBLISHED, None)
    assert states["b"] == (State.HELD, "edited")


async def test_f71_a_removed_post_is_cancelled_where_it_is_not_published(planner):
    """Published deliveries stay until a person retracts them."""
    await apply_schedule(
        planner, entry("p") + entry("q", at="2026-11-26T09:00:00"), "schedule.toml"
    )
    await publish(planner, AccountId("a"))
    await apply_schedule(planner, entry("q", at="2026-11-26T09:00:00"), "schedule.toml")
    states = {
        item.account: item.state for item in await deliveries(planner, post=PostId("p"))
    }
    assert states == {"a": State.PUBLISHED, "b": State.CANCELLED}


async def test_an_account_no_longer_named_is_cancelled_and_a_new_one_added(planner):
    """A change of recipients affects only the recipients that changed."""
    await apply_schedule(
        planner, entry("p", at="2026-11-26T09:00:00", to='["a"]'), "schedule.toml"
    )
    await apply_schedule(
        planner, entry("p", at="2026-11-26T09:00:00", to='["b"]'), "schedule.toml"
    )
    states = {item.account: item.state for item in await deliveries(planner)}
    assert states == {"a": State.CANCELLED, "b": State.PENDING}


async def test_a_moved_time_moves_the_one_occurrence_until_a_call_was_made(planner):
    """F100: a post moves before the first intent; afterwards it stays as it is filed.

    It alone stays, with one alert.
    """
    await apply_schedule(planner, entry("p", at="2026-11-26T09:00:00"), "schedule.toml")
    await apply_schedule(planner, entry("p", at="2026-11-25T09:00:00"), "schedule.toml")
    assert len(await deliveries(planner)) == 2
    await publish(planner, AccountId("a"))
    before = await deliveries(planner, post="p")
    moved = entry("p", at="2026-11-27T09:00:00", title="新的标题") + entry(
        "urgent", extra="urgent = true"
    )
    applied = await apply_schedule(planner, moved, "schedule.toml")
    [problem] = applied.left_out
    assert (problem.code, problem.facts["post"], problem.location.line) == (
        "moved_after_start",
        "p",
        3,
    )
    assert await deliveries(planner, post="p") == before
    assert len(await deliveries(planner, post="urgent")) == applied.filed == 2
    assert (await planner.store.posts.get_post(PostId("p"))).title == "警惕退款诈骗"
    for _ in range(2):
        await plan_window(planner, await active_schedule(planner, "schedule.toml"), 3)
        await apply_schedule(planner, moved + "\n", "schedule.toml")
    [alert] = [
        one
        for one in await planner.store.queries.alerts()
        if one.code == "posts_left_out"
    ]
    assert (alert.facts["posts"], alert.at) == ("p", START_TIME)
    await apply_schedule(planner, moved.replace("27T09", "25T09"), "schedule.toml")
    assert not [
        one
        for one in await planner.store.queries.alerts()
        if one.code == "posts_left_out"
    ]


async def test_a_past_time_is_an_error_only_for_a_post_that_is_not_filed(
    planner, runtime
):
    """A new post in the past is refused; one that is already filed may stay in the file."""
    text = entry("p", at="2026-11-25T09:30:00")
    await apply_schedule(planner, text, "schedule.toml")
    runtime.advance_time(timedelta(days=1))
    await apply_schedule(planner, text + entry("q"), "schedule.toml")
    with pytest.raises(ScheduleError) as refused:
        await apply_schedule(
            planner, text + entry("r", at="2026-11-25T09:30:00"), "schedule.toml"
        )
    assert [problem.code for problem in refused.value.problems] == ["past_time"]


async def test_a_cron_edit_applies_to_the_instants_after_it(planner):
    """Instants filed under the old text and not in the new one are cancelled."""
    await apply_schedule(planner, cron("daily", "0 12 * * *"), "schedule.toml")
    before = {item.key.occurrence for item in await deliveries(planner)}
    await apply_schedule(planner, cron("daily", "0 13 * * *"), "schedule.toml")
    after = {item.key.occurrence: item.state for item in await deliveries(planner)}
    assert {after[label] for label in before} == {State.CANCELLED}
    assert [
        label for label, state in after.items() if state is State.PENDING
    ] == sorted({"2026-11-25T05:00:00+00:00", "2026-11-26T05:00:00+00:00"})


async def test_f63_of_missed_repeating_posts_only_the_newest_is_made_up_for(
    planner, runtime
):
    """After three days of downtime one bulletin is due, not three."""
    text = cron("daily", "0 9 * * *")
    await apply_schedule(planner, text, "schedule.toml")
    runtime.advance_time(timedelta(days=4, minutes=10))
    schedule = await active_schedule(planner, "schedule.toml")
    await plan_window(planner, schedule, await planner.store.posts.schedule_version())
    labels = sorted({item.key.occurrence[:10] for item in await deliveries(planner)})
    assert labels == [
        f"2026-{day}" for day in ("11-25", "11-26", "11-27", "11-29", "11-30", "12-01")
    ]


async def test_a_post_from_outside_the_schedule_is_due_at_once_and_stays(planner):
    """`send` files it now, and a later reload does not cancel it as removed from the file."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    [post] = parse_schedule(entry("red"), context=planner.schedule_context).posts
    assert await send_now(planner, [post]) == 2
    await apply_schedule(planner, entry("p") + entry("q"), "schedule.toml")
    assert {item.state for item in await deliveries(planner, post=PostId("red"))} == {
        State.PENDING
    }


async def test_a_resend_is_a_new_occurrence_with_a_marker_of_its_own(planner, runtime):
    """The ended delivery stays as it is beside the new one."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    runtime.advance_time(timedelta(hours=1))
    maintenance, _outbox = stores(planner)
    await maintenance.promote_due()
    await maintenance.expire()
    post = await planner.store.posts.get_post(PostId("p"))
    assert await resend_post(planner, post, [AccountId("a")]) == 1
    old, new = await deliveries(planner, account=AccountId("a"))
    assert (old.state, new.state, old.rendered_hash != new.rendered_hash) == (
        State.EXPIRED,
        State.PENDING,
        True,
    )


async def test_a_follow_up_does_not_keep_its_original_from_being_moved(
    planner, runtime
):
    """A new follow-up before its original is refused. One of a moved original expires."""
    original = entry("one", at="2026-11-25T10:00:00", to='["a", "b"]')
    follower = entry(
        "two", at="2026-11-25T10:30:00", to='["a"]', extra='follows = "one"'
    )
    with pytest.raises(ScheduleError) as caught:
        await apply_schedule(
            planner, original + follower.replace("10:30", "09:30"), "f"
        )
    assert [problem.code for problem in caught.value.problems] == ["follows_too_early"]
    await apply_schedule(planner, original + follower, "f")
    await apply_schedule(planner, original.replace("10:00", "14:00") + follower, "f")
    assert {
        item.due_at.hour for item in await deliveries(planner, post=PostId("one"))
    } == {6}
    for _ in range(6):
        runtime.advance_time(timedelta(hours=1))
        await publish(planner, "a")
        await planner.store.maintenance.run()
    [two] = await deliveries(planner, post=PostId("two"))
    assert two.state is State.EXPIRED
    alerts = [
        (alert.code, alert.facts["post"])
        for alert in await planner.store.queries.alerts()
    ]
    assert ("expired.too_late", "two") in alerts


async def test_a_cancelled_post_is_not_filed_again(planner):
    """A second reading of the same file does not bring back a post that a person cancelled."""

    text = entry("p", at="2026-11-26T09:00:00") + cron("daily", "0 12 * * *")
    await apply_schedule(planner, text, "schedule.toml")
    actions = planner.store.actions
    for post in ("p", "daily"):
        await actions.cancel_post(PostId(post), named_person("li"), "mistake")
    await apply_schedule(planner, text + "\n", "schedule.toml")
    assert {item.state for item in await deliveries(planner)} == {State.CANCELLED}


async def test_a_follow_up_may_outlive_its_originals_entry(planner):
    """An original that was published and has left the file can still be followed, by its title."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    follow = entry("clear", title="预警解除").replace(
        'kind = "warning"', 'kind = "all-clear"\nfollows = "p"'
    )
    text = follow.replace('template = "warning"', 'template = "all-clear"')
    assert (await apply_schedule(planner, text, "schedule.toml")).filed == 2
    assert {
        item.follows for item in await deliveries(planner, post=PostId("clear"))
    } == {"p"}


async def test_planning_never_overtakes_a_cancellation(planner):
    """Planning that began before a post was cancelled files nothing of it."""
    await apply_schedule(planner, cron("daily", "0 12 * * *"), "schedule.toml")
    schedule = await active_schedule(planner, "schedule.toml")
    known = await planner.store.posts.stored_posts()
    later = replace(planner, plan_days=4)
    changes = diff_schedule(later, schedule, known)
    proof = planner.post_renderer.render(
        schedule.posts[0], changes.planned[0].occurrence, ["a", "b"], {}
    )
    revision = RenderedRevision(content_hash="x", rendered_posts=proof.rendered_posts)
    await planner.store.actions.cancel_post(
        PostId("daily"), named_person("li"), "mistake"
    )
    drafts = [RenderedOccurrence(planned=changes.planned[0], revision=revision)]
    assert (
        await planner.store.posts.commit_plan(PlanCommit(plan=Plan(), rendered=drafts))
        == 0
    )


async def test_a_plan_of_an_older_version_is_not_written(planner):
    """When another schedule has come into force meanwhile, nothing of the older plan is written."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    based_on = await planner.store.posts.schedule_version()
    await apply_schedule(planner, entry("p") + entry("q"), "schedule.toml")
    with pytest.raises(ConcurrentUpdateError):
        await planner.store.posts.commit_plan(
            PlanCommit(plan=Plan(removed_posts=(PostId("p"),)), base_version=based_on)
        )
    assert {item.state for item in await deliveries(planner, post=PostId("p"))} == {
        State.PENDING
    }


async def test_planning_ahead_never_removes_what_a_newer_file_names(planner):
    """Only a reload removes posts; a planning run with an older schedule cancels nothing."""
    await apply_schedule(planner, entry("p", at="2026-11-26T09:00:00"), "schedule.toml")
    older = await active_schedule(planner, "schedule.toml")
    version = await planner.store.posts.schedule_version()
    both = entry("p", at="2026-11-26T09:00:00") + entry("q", at="2026-11-26T09:00:00")
    await apply_schedule(planner, both, "schedule.toml")
    with pytest.raises(ConcurrentUpdateError):
        await plan_window(planner, older, version)
    assert {item.state for item in await deliveries(planner, post=PostId("q"))} == {
        State.PENDING
    }


async def test_planning_ahead_files_nothing_of_a_post_that_a_newer_file_has_left_out(
    planner, runtime
):
    """Between reading a version and planning from it another host may have applied a newer one."""
    await apply_schedule(
        planner, cron("daily", "0 12 * * *") + entry("p"), "schedule.toml"
    )
    older = await active_schedule(planner, "schedule.toml")
    version = await planner.store.posts.schedule_version()
    await apply_schedule(planner, entry("p"), "schedule.toml")
    runtime.advance_time(timedelta(days=1))
    with pytest.raises(ConcurrentUpdateError):
        await plan_window(planner, older, version)
    assert {item.state for item in await deliveries(planner, post=PostId("daily"))} == {
        State.CANCELLED
    }


async def test_i20_a_post_that_broke_later_does_not_keep_the_others_from_being_filed(
    planner, tmp_path
):
    """A missing picture stops its own post, with a problem; another post is filed."""
    (tmp_path / "media").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "media" / "x.png")
    images = 'images = [{ file = "media/x.png", alt = "x" }]'
    pictured = cron("daily", "0 12 * * *").replace(
        "[post.data]", f"{images}\n[post.data]"
    )
    await apply_schedule(
        planner, pictured + cron("other", "0 12 * * *"), "schedule.toml"
    )
    (tmp_path / "media" / "x.png").unlink()
    schedule = await active_schedule(planner, "schedule.toml")
    with pytest.raises(ScheduleError):
        await plan_window(
            replace(planner, plan_days=3),
            schedule,
            await planner.store.posts.schedule_version(),
        )
    filed = {
        name: len(await deliveries(planner, post=PostId(name)))
        for name in ("daily", "other")
    }
    assert filed == {"daily": 4, "other": 6}


async def test_i4_f75_a_picture_is_sent_as_it_was_previewed_and_without_its_author(
    planner, tmp_path
):
    """The bytes in the request are the bytes of the preview and its hash.

    They are cleaned once and for all.
    """
    exif = Image.Exif()
    exif[0x013B] = "canary"
    picture = tmp_path / "media" / "p.jpg"
    picture.parent.mkdir()
    Image.new("RGB", (300, 200)).save(picture, exif=exif)
    pictured = entry("p", extra='images = [{ file = "media/p.jpg", alt = "步骤" }]')
    await apply_schedule(planner, pictured, "schedule.toml")
    [post] = parse_schedule(pictured, context=planner.schedule_context).posts
    proof = planner.post_renderer.render(
        post, make_occurrence(post, ONCE_OCCURRENCE, START_TIME), ["a"], {}
    )
    maintenance, outbox = stores(planner)
    await maintenance.promote_due()
    [request] = [
        await outbox.record_intent(lease)
        for lease in await outbox.claim(10)
        if lease.account == "a"
    ]
    [(_type, shown)] = proof.media.values()
    assert request.images == (shown,)
    assert b"canary" in picture.read_bytes()
    assert b"canary" not in shown
    assert [each.sha256 for each in request.rendered.images] == [
        hashlib.sha256(shown).hexdigest()
    ]
    assert request.rendered == proof.rendered_posts[0]


@pytest.mark.parametrize("gone_out", [(), ("a",), ("a", "b")])
async def test_a_filed_post_is_not_rendered_again_when_another_post_is_edited(
    planner, tmp_path, gone_out
):
    """A deleted picture stops neither its own frozen post nor a reload.

    It stops the post's next edit.
    """
    picture = tmp_path / "media" / "p.png"
    picture.parent.mkdir()
    Image.new("RGB", (300, 200)).save(picture)
    pictured = entry("p", extra='images = [{ file = "media/p.png", alt = "步骤" }]')
    await apply_schedule(planner, pictured, "schedule.toml")
    for account in gone_out:
        await publish(planner, account)
    picture.unlink()
    assert (
        await apply_schedule(planner, pictured + entry("q"), "schedule.toml")
    ).filed == 2
    with pytest.raises(ScheduleError):
        await apply_schedule(
            planner, pictured.replace("警惕", "谨防") + entry("q"), "schedule.toml"
        )


async def test_f88_a_picture_of_many_posts_is_read_once_and_again_when_it_changes(
    planner, tmp_path, monkeypatch
):
    """Reloads of a schedule with many posts to come take no longer by their pictures.

    A broken picture is found all the same.
    """
    picture, read = tmp_path / "media" / "p.png", []

    def count(*arguments):
        read.append(arguments)
        return read_picture(*arguments)

    monkeypatch.setattr(images, "read_picture", count)
    picture.parent.mkdir()
    Image.new("RGB", (300, 200)).save(picture)
    pictures = ", ".join(['{ file = "media/p.png", alt = "步骤" }'] * 9)
    text = "".join(
        cron(f"c{number}", "0 0 1 1 *").replace(
            "[post.data]", f"images = [{pictures}]\n[post.data]"
        )
        for number in range(3)
    )
    for title in ("一", "二"):
        await apply_schedule(planner, text + entry("q", title=title), "schedule.toml")
    assert len(read) == 1
    picture.write_bytes(b"x")
    with pytest.raises(ScheduleError) as refused:
        await apply_schedule(planner, text.replace("警惕", "谨防", 1), "schedule.toml")
    assert {problem.code for problem in refused.value.problems} == {
        "image_unknown_type"
    }


async def test_f90_the_pictures_of_a_post_are_limited_together(
    planner, tmp_path, monkeypatch
):
    """Each picture is decoded once, so many large ones would keep other posts waiting."""
    monkeypatch.setattr(images, "MAX_POST_PIXELS", 2 * 300 * 200)
    (tmp_path / "media").mkdir()
    pictures = []
    for number in range(4):
        file = f"media/{number}.png"
        Image.new("RGB", (300, 200), (number, 0, 0)).save(tmp_path / file)
        pictures.append(f'{{ file = "{file}", alt = "步骤" }}')
    three, four = (
        entry("p", extra=f"images = [{', '.join(pictures[:number])}]")
        for number in (3, 4)
    )
    await apply_schedule(planner, three, "schedule.toml")
    with pytest.raises(ScheduleError) as refused:
        await apply_schedule(planner, four, "schedule.toml")
    [problem] = refused.value.problems
    assert problem.code == "images_too_many_pixels"
    assert problem.facts["key"] == "images.3.file"


async def test_a_delivery_held_for_an_edit_and_resent_is_not_held_again(planner):
    """After a person has decided for the old text, the same edit does not stop it once more."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await apply_schedule(planner, entry("p", title="新的标题"), "schedule.toml")
    [held] = await deliveries(planner, account=AccountId("b"))
    _rounds, _outbox = stores(planner)
    await resolve_delivery(
        planner.store,
        held,
        Resolution.RESEND,
        by=named_person("li"),
        reason="old words are fine",
    )
    await plan_window(
        planner,
        await active_schedule(planner, "schedule.toml"),
        await planner.store.posts.schedule_version(),
    )
    [after] = await deliveries(planner, account=AccountId("b"))
    assert after.state is State.DUE


async def test_only_a_change_of_text_counts_as_an_edit_after_the_first_call(planner):
    """A longer expiry for deliveries that are still to be sent holds nothing."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await apply_schedule(planner, entry("p", extra='max_delay = "3h"'), "schedule.toml")
    [after] = await deliveries(planner, account=AccountId("b"))
    assert (after.state, after.max_delay) == (State.CLAIMED, timedelta(hours=3))


async def test_f85_an_order_given_again_is_refused_while_its_lost_call_fits_no_delivery(
    planner,
):
    """A new occurrence has its own marker, so the lost call would not be found by it.

    Other accounts are free.
    """
    await apply_schedule(planner, cron("c", "0 12 * * *"), "schedule.toml")
    await lose_call(planner, "c", "2026-11-25T08:30:00+00:00")
    post = await planner.store.posts.get_post(PostId("c"))
    with pytest.raises(RefusedError) as refused:
        await resend_post(planner, post, post.accounts)
    assert (refused.value.code, refused.value.facts["account"]) == (
        "resend_attempt_orphaned",
        "a",
    )
    assert await resend_post(planner, post, [AccountId("b")]) == 1


async def test_f85_a_correction_ordered_again_is_refused_or_takes_its_lost_call_as_its_own(
    planner,
):
    """A lost call under the same occurrence is found by its marker, so it is read first.

    A lost call under another occurrence is not found, and the order is refused.
    """
    await apply_schedule(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    post = await planner.store.posts.get_post(PostId("p"))
    for name, label in (("x", "2026-11-25T08:30:00+00:00"), ("y", ONCE_OCCURRENCE)):
        await lose_call(planner, name, label)
    x, y = (
        replace(post, id=PostId(name), kind=PostKind.CORRECTION, follows=post.id)
        for name in ("x", "y")
    )
    with pytest.raises(RefusedError) as refused:
        await send_correction(planner, x, named_person("li"), is_new=True)
    assert (refused.value.code, refused.value.facts["account"]) == (
        "resend_attempt_orphaned",
        "a",
    )
    await send_correction(planner, y, named_person("li"), is_new=True)
    assert (await deliveries(planner, post=PostId("y"), account=AccountId("a")))[
        0
    ].state is State.UNKNOWN


async def test_i1_a_second_resend_is_refused(planner, runtime):
    """While one new occurrence is open, or once it is published, another would double the post."""
    await apply_schedule(planner, entry("p"), "schedule.toml")
    runtime.advance_time(timedelta(hours=1))
    maintenance, _outbox = stores(planner)
    await maintenance.promote_due()
    await maintenance.expire()
    post = await planner.store.posts.get_post(PostId("p"))
    assert await resend_post(planner, post, [AccountId("a")]) == 1
    for _ in ("open", "live"):
        with pytest.raises(RefusedError) as refused:
            await resend_post(planner, post, [AccountId("a")])
        assert refused.value.code == "resend_not_needed"
        await publish(planner, AccountId("a"))


async def test_a_repeating_post_may_be_sent_now_beside_its_later_instants(planner):
    """Later instants do not prevent it; all accounts get the one new occurrence together."""
    await apply_schedule(planner, cron("daily", "0 12 * * *"), "schedule.toml")
    post = await planner.store.posts.get_post(PostId("daily"))
    assert await resend_post(planner, post, post.accounts) == 2
    with pytest.raises(RefusedError):
        await resend_post(planner, post, post.accounts)


async def test_i1_of_two_simultaneous_orders_for_a_new_occurrence_one_is_refused(
    planner, runtime
):
    """Of two simultaneous orders for a repeating post, one is refused.

    Two people order at the same moment, and the post is sent once.
    """
    await apply_schedule(planner, cron("weekly", "0 9 * * mon"), "schedule.toml")
    post = await planner.store.posts.get_post(PostId("weekly"))

    async def order():
        runtime.advance_time(timedelta(microseconds=1))
        return await resend_post(planner, post, post.accounts)

    one, other = await asyncio.gather(order(), order(), return_exceptions=True)
    assert {type(one), type(other)} == {int, RefusedError}


async def lose_call(planner, post, label):
    """Write a journal entry of a call on the account "a" that the database does not know."""
    at = START_TIME.isoformat()
    call = JournalRecord(
        delivery=9,
        attempt=1,
        fencing_token=1,
        rendered_hash=post,
        at=at,
        post=post,
        occurrence=label,
        account="a",
        part=0,
        identity="a",
        method="",
    )
    store = planner.store
    await store.database.write(
        lambda unit: recover(store, unit, [call], RECOVERY_MAINTENANCE)
    )


async def test_f85_posts_whose_calls_were_lost_with_their_deliveries_come_back_as_unknown(
    planner, runtime
):
    """Lost calls come back as unknown and are read, however late it is.

    The other accounts count as late, and other instants stay removed.
    """
    runtime.advance_time(timedelta(days=1, hours=3))
    names = (("p", "once"), ("c", START_TIME.isoformat()))
    calls = [
        JournalRecord(
            delivery=9,
            attempt=1,
            fencing_token=1,
            rendered_hash=post,
            at=START_TIME.isoformat(),
            post=post,
            occurrence=label,
            account="a",
            part=0,
            identity="a",
            method="",
        )
        for post, label in names
    ]
    database = planner.store.database
    await database.write(
        lambda unit: recover(planner.store, unit, calls, RECOVERY_MAINTENANCE)
    )
    text = entry("p", at="2026-11-25T09:00:00") + cron("c", "0 9 * * *")
    assert (await apply_schedule(planner, text, "schedule.toml")).filed == 2 + 2 + 2 * 2
    found = {
        (item.key.post, item.key.occurrence, item.account): item.state
        for item in await deliveries(planner)
    }
    assert {key for key, state in found.items() if state is State.UNKNOWN} == {
        (*name, "a") for name in names
    }
    assert (await planner.store.posts.stored_posts())[
        PostId("p")
    ].attempted_occurrences == frozenset()
    assert await database.read(orphaned_attempts) == []
