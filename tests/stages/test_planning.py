"""From the text of a schedule to filed deliveries, with the shipped templates and the real adapters' limits."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from PIL import Image

from publisher.domain.account import AccountId
from publisher.domain.delivery import State
from publisher.domain.errors import RefusedError, ScheduleError
from publisher.domain.outcome import Published, Receipt
from publisher.domain.plan import Plan
from publisher.domain.post import ONCE, Kind, PostId, occurrence_of
from publisher.domain.rendition import Revision
from publisher.planning import Planner, compare, correct, plan_ahead, reload, schedule_in_force, send_again, send_now
from publisher.reviewing import Ruling, person, rule
from publisher.schedule import desk_for, parse_schedule
from publisher.settings import parse_settings
from publisher.store.board import Board
from publisher.store.engine import OvertakenError
from publisher.store.journal import Intent
from publisher.store.orders import Orders
from publisher.store.outbox import Outbox
from publisher.store.portions import Draft
from publisher.store.recovery import RECOVERY_KEEPER, readopt, unplaced
from publisher.store.registry import Acceptance
from publisher.store.rounds import Rounds
from publisher.testing.fakes import START
from publisher.wiring.studio import build_studio

SETTINGS = """
environment = "drill"
[region.110000]
name = "北京"
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
async def planner(open_desk, tmp_path):
    """Give a planner for two Weibo accounts."""
    studio = build_studio(parse_settings(SETTINGS, workspace=tmp_path))
    desk = await open_desk(*studio.terms.values())
    reading = desk_for(studio.settings, templates=studio.press.templates.names)
    return Planner(registry=desk.registry, press=studio.press, desk=reading, plan_days=2)


def rooms(planner):
    """Give the keeper's rounds and the outbox over the planner's books."""
    return Rounds(planner.registry.books), Outbox(planner.registry.books)


async def deliveries(planner, **where):
    return await Board(planner.registry.books).deliveries(**where)


async def publish(planner, account):
    """Let one due delivery of an account be published."""
    rounds, outbox = rooms(planner)
    await rounds.ripen()
    for lease in await outbox.claim(10):
        if lease.account == account:
            await outbox.intend(lease)
            receipt = Receipt(remote_id=f"{account}-{lease.delivery}", url="https://x.example", live_at=START)
            await outbox.settle(lease, Published(receipt=receipt))


async def test_an_accepted_schedule_is_filed_with_its_final_words(planner):
    """Each account's delivery holds the frozen text; the version in force is the one read."""
    text = entry("p")
    assert await reload(planner, text, "schedule.toml") == 2
    filed = await deliveries(planner)
    assert [(item.account, item.state, item.due_at) for item in filed] == [
        ("a", State.PENDING, START),
        ("b", State.PENDING, START),
    ]
    assert await planner.registry.schedule_text() == text


async def test_i17_reading_the_same_schedule_again_files_nothing(planner):
    """Neither a second reload nor a planning beat plans an occurrence twice."""
    text = entry("p") + cron("weekly", "0 9 * * *")
    filed = await reload(planner, text, "schedule.toml")
    assert await reload(planner, text, "schedule.toml") == 0
    schedule = await schedule_in_force(planner, "schedule.toml")
    assert await plan_ahead(planner, schedule, await planner.registry.version()) == 0
    assert len(await deliveries(planner)) == filed == 2 + 6


async def test_f66_a_wrong_file_changes_nothing(planner):
    """The last good version stays in force, and every problem is named at its line."""
    good = entry("p")
    await reload(planner, good, "schedule.toml")
    bad = good + entry("q", to='["nowhere"]') + entry("r", title="很长" * 200)
    with pytest.raises(ScheduleError):
        await reload(planner, bad, "schedule.toml")
    too_long = good + entry("r", title="很长" * 90)
    with pytest.raises(ScheduleError) as refused:
        await reload(planner, too_long, "schedule.toml")
    assert all(problem.place and problem.place.line > good.count("\n") for problem in refused.value.problems)
    assert await planner.registry.schedule_text() == good
    assert len(await deliveries(planner)) == 2


async def test_f65_a_large_removal_waits_for_a_yes(planner):
    """Many open posts vanish only when their number is said."""
    posts = [entry(f"p{number}", at="2026-11-26T09:00:00") for number in range(8)]
    await reload(planner, "".join(posts), "schedule.toml")
    with pytest.raises(RefusedError) as refused:
        await reload(planner, posts[0], "schedule.toml")
    assert (refused.value.code, refused.value.facts["number"]) == ("large_removal", "7")
    await reload(planner, posts[0], "schedule.toml", accept=7)
    states = [item.state for item in await deliveries(planner)]
    assert (states.count(State.CANCELLED), states.count(State.PENDING)) == (14, 2)


async def test_f69_an_edit_before_any_call_replaces_the_words(planner):
    """All deliveries get the new text and wait for their time again."""
    await reload(planner, entry("p", at="2026-11-26T09:00:00"), "schedule.toml")
    old = {item.rendition for item in await deliveries(planner)}
    await reload(planner, entry("p", at="2026-11-26T10:00:00", title="新的标题"), "schedule.toml")
    filed = await deliveries(planner)
    assert {item.state for item in filed} == {State.PENDING}
    assert not old & {item.rendition for item in filed}
    assert {item.due_at.hour for item in filed} == {2}


async def test_f70_an_edit_after_part_went_out_holds_the_rest(planner):
    """Two texts of one occurrence are never live without a person's decision."""
    await reload(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await reload(planner, entry("p", title="新的标题"), "schedule.toml")
    states = {item.account: (item.state, item.reason) for item in await deliveries(planner)}
    assert states["a"] == (State.PUBLISHED, None)
    assert states["b"] == (State.HELD, "edited")


async def test_f71_a_removed_post_is_cancelled_where_it_is_not_live(planner):
    """What is live stays until a person retracts it."""
    await reload(planner, entry("p") + entry("q", at="2026-11-26T09:00:00"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await reload(planner, entry("q", at="2026-11-26T09:00:00"), "schedule.toml")
    states = {item.account: item.state for item in await deliveries(planner, post=PostId("p"))}
    assert states == {"a": State.PUBLISHED, "b": State.CANCELLED}


async def test_an_account_no_longer_named_is_cancelled_and_a_new_one_added(planner):
    """A change of recipients touches only the recipients that changed."""
    await reload(planner, entry("p", at="2026-11-26T09:00:00", to='["a"]'), "schedule.toml")
    await reload(planner, entry("p", at="2026-11-26T09:00:00", to='["b"]'), "schedule.toml")
    states = {item.account: item.state for item in await deliveries(planner)}
    assert states == {"a": State.CANCELLED, "b": State.PENDING}


async def test_a_moved_time_moves_the_one_occurrence_until_a_call_was_made(planner):
    """Before the first intent it moves; afterwards the file is refused."""
    await reload(planner, entry("p", at="2026-11-26T09:00:00"), "schedule.toml")
    await reload(planner, entry("p", at="2026-11-25T09:00:00"), "schedule.toml")
    assert len(await deliveries(planner)) == 2
    await publish(planner, AccountId("a"))
    with pytest.raises(ScheduleError) as refused:
        await reload(planner, entry("p", at="2026-11-27T09:00:00"), "schedule.toml")
    assert [problem.code for problem in refused.value.problems] == ["moved_after_start"]


async def test_a_past_time_is_an_error_only_for_a_post_the_books_do_not_know(planner, world):
    """A new post in the past is refused; one that is already filed may stay in the file."""
    text = entry("p", at="2026-11-25T09:30:00")
    await reload(planner, text, "schedule.toml")
    world.pass_time(timedelta(days=1))
    await reload(planner, text + entry("q"), "schedule.toml")
    with pytest.raises(ScheduleError) as refused:
        await reload(planner, text + entry("r", at="2026-11-25T09:30:00"), "schedule.toml")
    assert [problem.code for problem in refused.value.problems] == ["past_time"]


async def test_a_cron_edit_applies_to_the_instants_after_it(planner):
    """Instants filed under the old text and not in the new one are cancelled."""
    await reload(planner, cron("daily", "0 12 * * *"), "schedule.toml")
    before = {item.key.label for item in await deliveries(planner)}
    await reload(planner, cron("daily", "0 13 * * *"), "schedule.toml")
    after = {item.key.label: item.state for item in await deliveries(planner)}
    assert {after[label] for label in before} == {State.CANCELLED}
    assert [label for label, state in after.items() if state is State.PENDING] == sorted(
        {"2026-11-25T05:00:00+00:00", "2026-11-26T05:00:00+00:00"}
    )


async def test_f63_of_missed_repeating_posts_only_the_newest_is_made_up_for(planner, world):
    """After three days of silence one bulletin is due, not three."""
    text = cron("daily", "0 9 * * *")
    await reload(planner, text, "schedule.toml")
    world.pass_time(timedelta(days=4, minutes=10))
    schedule = await schedule_in_force(planner, "schedule.toml")
    await plan_ahead(planner, schedule, await planner.registry.version())
    labels = sorted({item.key.label[:10] for item in await deliveries(planner)})
    assert labels == [f"2026-{day}" for day in ("11-25", "11-26", "11-27", "11-29", "11-30", "12-01")]


async def test_a_post_from_outside_the_schedule_is_due_at_once_and_stays(planner):
    """`send` files it now, and a later reload does not take it for removed."""
    await reload(planner, entry("p"), "schedule.toml")
    [post] = parse_schedule(entry("red"), desk=planner.desk).posts
    assert await send_now(planner, [post]) == 2
    await reload(planner, entry("p") + entry("q"), "schedule.toml")
    assert {item.state for item in await deliveries(planner, post=PostId("red"))} == {State.PENDING}


async def test_a_resend_is_a_new_occurrence_with_a_marker_of_its_own(planner, world):
    """The ended delivery stays as it is beside the new one."""
    await reload(planner, entry("p"), "schedule.toml")
    world.pass_time(timedelta(hours=1))
    rounds, _outbox = rooms(planner)
    await rounds.ripen()
    await rounds.expire()
    post = await planner.registry.post(PostId("p"))
    assert await send_again(planner, post, [AccountId("a")]) == 1
    old, new = await deliveries(planner, account=AccountId("a"))
    assert (old.state, new.state, old.rendition != new.rendition) == (State.EXPIRED, State.PENDING, True)


async def test_a_withdrawn_post_is_not_filed_again(planner):
    """Reading the same file again does not bring back what a person withdrew."""

    text = entry("p", at="2026-11-26T09:00:00") + cron("daily", "0 12 * * *")
    await reload(planner, text, "schedule.toml")
    orders = Orders(planner.registry.books)
    for post in ("p", "daily"):
        await orders.withdraw(PostId(post), person("li"), "mistake")
    await reload(planner, text + "\n", "schedule.toml")
    assert {item.state for item in await deliveries(planner)} == {State.CANCELLED}


async def test_a_follow_up_may_outlive_its_originals_entry(planner):
    """An original that was published and has left the file can still be followed, by its title."""
    await reload(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    follow = entry("clear", title="预警解除").replace('kind = "warning"', 'kind = "all-clear"\nfollows = "p"')
    text = follow.replace('template = "warning"', 'template = "all-clear"')
    assert await reload(planner, text, "schedule.toml") == 2
    assert {item.follows for item in await deliveries(planner, post=PostId("clear"))} == {"p"}


async def test_a_filing_never_overtakes_a_withdrawal(planner):
    """A round that was planned before a post was withdrawn files nothing of it."""
    await reload(planner, cron("daily", "0 12 * * *"), "schedule.toml")
    schedule = await schedule_in_force(planner, "schedule.toml")
    known = await planner.registry.known()
    later = replace(planner, plan_days=4)
    changes = compare(later, schedule, known)
    proof = planner.press.prove(schedule.posts[0], changes.filings[0].occurrence, ["a", "b"], {})
    revision = Revision(definition="x", renditions=proof.renditions)
    await Orders(planner.registry.books).withdraw(PostId("daily"), person("li"), "mistake")
    drafts = [Draft(filing=changes.filings[0], revision=revision)]
    assert await planner.registry.accept(Acceptance(plan=Plan(), drafts=drafts)) == 0


async def test_a_round_planned_from_an_older_version_is_not_written(planner):
    """When another schedule has come into force meanwhile, nothing of the older plan is done."""
    await reload(planner, entry("p"), "schedule.toml")
    based_on = await planner.registry.version()
    await reload(planner, entry("p") + entry("q"), "schedule.toml")
    with pytest.raises(OvertakenError):
        await planner.registry.accept(Acceptance(plan=Plan(dropped=(PostId("p"),)), based_on=based_on))
    assert {item.state for item in await deliveries(planner, post=PostId("p"))} == {State.PENDING}


async def test_planning_ahead_never_drops_what_a_newer_file_named(planner):
    """Only a reload takes posts out; a beat with an older schedule in mind cancels nothing."""
    await reload(planner, entry("p", at="2026-11-26T09:00:00"), "schedule.toml")
    older, version = await schedule_in_force(planner, "schedule.toml"), await planner.registry.version()
    both = entry("p", at="2026-11-26T09:00:00") + entry("q", at="2026-11-26T09:00:00")
    await reload(planner, both, "schedule.toml")
    await plan_ahead(planner, older, version)
    assert {item.state for item in await deliveries(planner, post=PostId("q"))} == {State.PENDING}


async def test_planning_ahead_files_nothing_of_a_post_that_a_newer_file_has_left_out(planner, world):
    """Between reading a version and filing from it another host may have put a newer one in force."""
    await reload(planner, cron("daily", "0 12 * * *") + entry("p"), "schedule.toml")
    older, version = await schedule_in_force(planner, "schedule.toml"), await planner.registry.version()
    await reload(planner, entry("p"), "schedule.toml")
    world.pass_time(timedelta(days=1))
    with pytest.raises(OvertakenError):
        await plan_ahead(planner, older, version)
    assert {item.state for item in await deliveries(planner, post=PostId("daily"))} == {State.CANCELLED}


async def test_i20_a_post_that_broke_later_does_not_keep_the_others_from_being_filed(planner, tmp_path):
    """A picture that is gone stops its own post, with a problem; another one is filed all the same."""
    (tmp_path / "media").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "media" / "x.png")
    images = 'images = [{ file = "media/x.png", alt = "x" }]'
    pictured = cron("daily", "0 12 * * *").replace("[post.data]", f"{images}\n[post.data]")
    await reload(planner, pictured + cron("other", "0 12 * * *"), "schedule.toml")
    (tmp_path / "media" / "x.png").unlink()
    schedule = await schedule_in_force(planner, "schedule.toml")
    with pytest.raises(ScheduleError):
        await plan_ahead(replace(planner, plan_days=3), schedule, await planner.registry.version())
    filed = {name: len(await deliveries(planner, post=PostId(name))) for name in ("daily", "other")}
    assert filed == {"daily": 4, "other": 6}


async def test_i4_f75_a_picture_goes_out_as_it_was_proved_and_without_its_author(planner, tmp_path):
    """The bytes in the parcel are those that the preview shows and hashes, cleaned once and for all."""
    exif = Image.Exif()
    exif[0x013B] = "canary"
    picture = tmp_path / "media" / "p.jpg"
    picture.parent.mkdir()
    Image.new("RGB", (300, 200)).save(picture, exif=exif)
    pictured = entry("p", extra='images = [{ file = "media/p.jpg", alt = "步骤" }]')
    await reload(planner, pictured, "schedule.toml")
    [post] = parse_schedule(pictured, desk=planner.desk).posts
    proof = planner.press.prove(post, occurrence_of(post, ONCE, START), ["a"], {})
    rounds, outbox = rooms(planner)
    await rounds.ripen()
    [parcel] = [await outbox.intend(lease) for lease in await outbox.claim(10) if lease.account == "a"]
    [(_type, shown)] = proof.media.values()
    assert parcel.images == (shown,)
    assert b"canary" in picture.read_bytes()
    assert b"canary" not in shown
    assert [each.sha256 for each in parcel.rendition.pictures] == [hashlib.sha256(shown).hexdigest()]
    assert parcel.rendition == proof.renditions[0]


@pytest.mark.parametrize("gone_out", [(), ("a",), ("a", "b")])
async def test_what_is_filed_is_not_proved_again_when_another_post_is_edited(planner, tmp_path, gone_out):
    """A picture that is gone since stops neither its own frozen post nor a reload; it stops the post's next edit."""
    picture = tmp_path / "media" / "p.png"
    picture.parent.mkdir()
    Image.new("RGB", (300, 200)).save(picture)
    pictured = entry("p", extra='images = [{ file = "media/p.png", alt = "步骤" }]')
    await reload(planner, pictured, "schedule.toml")
    for account in gone_out:
        await publish(planner, account)
    picture.unlink()
    assert await reload(planner, pictured + entry("q"), "schedule.toml") == 2
    with pytest.raises(ScheduleError):
        await reload(planner, pictured.replace("警惕", "谨防") + entry("q"), "schedule.toml")


async def test_what_was_taken_out_does_not_come_back_in_silence(planner):
    """A post restored after its deliveries were cancelled is refused, with the advice to give it a new id."""
    text = entry("p", at="2026-11-26T09:00:00") + entry("q", at="2026-11-26T09:00:00")
    await reload(planner, text, "schedule.toml")
    await reload(planner, entry("q", at="2026-11-26T09:00:00"), "schedule.toml")
    with pytest.raises(ScheduleError) as refused:
        await reload(planner, text, "schedule.toml")
    assert [problem.code for problem in refused.value.problems] == ["restored_after_removal"]


async def test_a_delivery_held_for_an_edit_and_ruled_to_go_is_not_held_again(planner):
    """After a person has decided for the old words, the same edit does not stop it once more."""
    await reload(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await reload(planner, entry("p", title="新的标题"), "schedule.toml")
    [held] = await deliveries(planner, account=AccountId("b"))
    _rounds, outbox = rooms(planner)
    await rule(outbox, held, Ruling.RESEND, by="li", reason="old words are fine")
    await plan_ahead(planner, await schedule_in_force(planner, "schedule.toml"), await planner.registry.version())
    [after] = await deliveries(planner, account=AccountId("b"))
    assert after.state is State.DUE


async def test_only_a_change_of_words_counts_as_an_edit_after_the_start(planner):
    """A longer life for what is still to go out holds nothing."""
    await reload(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    await reload(planner, entry("p", extra='max_delay = "3h"'), "schedule.toml")
    [after] = await deliveries(planner, account=AccountId("b"))
    assert (after.state, after.max_delay) == (State.CLAIMED, timedelta(hours=3))


async def test_f85_an_order_given_again_is_refused_while_its_lost_call_fits_no_delivery(planner):
    """Its new occurrence has a marker of its own, by which nothing would be found. Other accounts are free."""
    await reload(planner, cron("c", "0 12 * * *"), "schedule.toml")
    await lose_call(planner, "c", "2026-11-25T08:30:00+00:00")
    post = await planner.registry.post(PostId("c"))
    with pytest.raises(RefusedError) as refused:
        await send_again(planner, post, post.accounts)
    assert (refused.value.code, refused.value.facts["account"]) == ("resend_call_unplaced", "a")
    assert await send_again(planner, post, [AccountId("b")]) == 1


async def test_f85_a_correction_ordered_again_is_refused_or_takes_its_lost_call_as_its_own(planner):
    """Under the very occurrence of the call it is found by its marker, so it is read first; under another it is not."""
    await reload(planner, entry("p"), "schedule.toml")
    await publish(planner, AccountId("a"))
    post = await planner.registry.post(PostId("p"))
    for name, label in (("x", "2026-11-25T08:30:00+00:00"), ("y", ONCE)):
        await lose_call(planner, name, label)
    x, y = (replace(post, id=PostId(name), kind=Kind.CORRECTION, follows=post.id) for name in ("x", "y"))
    with pytest.raises(RefusedError) as refused:
        await correct(planner, x, person("li"), is_new=True)
    assert (refused.value.code, refused.value.facts["account"]) == ("resend_call_unplaced", "a")
    await correct(planner, y, person("li"), is_new=True)
    assert (await deliveries(planner, post=PostId("y"), account=AccountId("a")))[0].state is State.UNKNOWN


async def test_i1_a_second_resend_is_refused(planner, world):
    """While one new occurrence is open, or once it is live, another would double the post."""
    await reload(planner, entry("p"), "schedule.toml")
    world.pass_time(timedelta(hours=1))
    rounds, _outbox = rooms(planner)
    await rounds.ripen()
    await rounds.expire()
    post = await planner.registry.post(PostId("p"))
    assert await send_again(planner, post, [AccountId("a")]) == 1
    for _ in ("open", "live"):
        with pytest.raises(RefusedError) as refused:
            await send_again(planner, post, [AccountId("a")])
        assert refused.value.code == "resend_not_needed"
        await publish(planner, AccountId("a"))


async def test_a_repeating_post_may_be_sent_now_beside_its_later_instants(planner):
    """Instants still to come are no hindrance; all accounts get the one new occurrence together."""
    await reload(planner, cron("daily", "0 12 * * *"), "schedule.toml")
    post = await planner.registry.post(PostId("daily"))
    assert await send_again(planner, post, post.accounts) == 2
    with pytest.raises(RefusedError):
        await send_again(planner, post, post.accounts)


async def test_i1_of_two_orders_at_once_for_a_new_occurrence_one_is_refused(planner, world):
    """Two people who order the same repeating post in the same moment bring it out once."""
    await reload(planner, cron("weekly", "0 9 * * mon"), "schedule.toml")
    post = await planner.registry.post(PostId("weekly"))

    async def order():
        world.pass_time(timedelta(microseconds=1))
        return await send_again(planner, post, post.accounts)

    one, other = await asyncio.gather(order(), order(), return_exceptions=True)
    assert {type(one), type(other)} == {int, RefusedError}


async def lose_call(planner, post, label):
    """Let a journal know a call on the account "a" of which the books know nothing."""
    at = START.isoformat()
    call = Intent(delivery=9, attempt=1, epoch=1, rendition=post, at=at, post=post, label=label, account="a")
    books = planner.registry.books
    await books.database.write(lambda unit: readopt(books, unit, [call], RECOVERY_KEEPER))


async def test_f85_posts_whose_calls_were_lost_with_their_deliveries_are_taken_back_as_doubts(planner, world):
    """However late it is: called accounts are read, the others go the way of what is late; other instants stay gone."""
    world.pass_time(timedelta(days=1, hours=3))
    names = (("p", "once"), ("c", START.isoformat()))
    calls = [
        Intent(
            delivery=9, attempt=1, epoch=1, rendition=post, at=START.isoformat(), post=post, label=label, account="a"
        )
        for post, label in names
    ]
    database = planner.registry.books.database
    await database.write(lambda unit: readopt(planner.registry.books, unit, calls, RECOVERY_KEEPER))
    text = entry("p", at="2026-11-25T09:00:00") + cron("c", "0 9 * * *")
    assert await reload(planner, text, "schedule.toml") == 2 + 2 + 2 * 2
    found = {(item.key.post, item.key.label, item.account): item.state for item in await deliveries(planner)}
    assert {key for key, state in found.items() if state is State.UNKNOWN} == {(*name, "a") for name in names}
    assert (await planner.registry.known())[PostId("p")].called == frozenset()
    assert await database.read(unplaced) == []
