"""One cause is one message: fifty accounts, a few seconds, three messages a minute, duty hours."""

import asyncio
import json
from datetime import timedelta

import pytest

from publisher.app.alert_channels import AlertChannels
from publisher.config import parse_settings
from publisher.domain.delivery import State
from publisher.domain.errors import Problem
from publisher.domain.results import Blocked, HoldReason
from publisher.engine.monitor import check_logins_due
from publisher.engine.notifier import MAX_CALLS, MAX_MESSAGES
from publisher.engine.sender import send_due
from publisher.settings_file import (
    AlertRoutesEntry,
    AlertsEntry,
    parse_duty_hours,
)
from publisher.testing.builders import enqueue_posts, make_policy, make_post
from publisher.testing.fakes import FakeAdapter
from tests.alerts.receivers import Webhook, serving
from tests.alerts.test_notices import (
    CHANNELS,
    HOUR,
    MINUTE,
    REFUSED,
    RULES,
    Receiver,
    close_alert,
    make_notifier,
    open_alert,
    pass_time,
)

SECOND = timedelta(seconds=1)
WHITELIST = "wechat_40164"
CITIES = [f"city{number}-wechat" for number in range(50)]
QUIET = "credentials_expiring"
"""A routine alert, for operators."""
IMPORTANT = "approval_needed"
"""An important alert, for editors."""
NO_ACCOUNT = {"account": "", "reason": ""}


@pytest.fixture
def receiver():
    return Receiver()


def gathers(**more):
    """Return the arguments of a notifier that waits as in a daemon."""
    return {"gather_period": timedelta(seconds=3), **more}


class WhitelistPlatform(FakeAdapter):
    """A platform that knows another address than this machine's."""

    refusal = Blocked(code=WHITELIST, reason="", hold_reason=HoldReason.ACCOUNT)
    is_corrected = False

    async def check_health(self):
        return await super().check_health() if self.is_corrected else self.refusal

    async def publish(self, *arguments, **more):
        if not self.is_corrected:
            self.script.append(self.refusal)
        return await super().publish(*arguments, **more)


def make_channels(folder, *receivers):
    """Return the channels of a workspace with these receivers, and the rules about them."""
    (folder / "secrets").mkdir()
    for receiver in receivers:
        secret = json.dumps({"url": receiver.url})
        (folder / "secrets" / f"hook-{receiver.name}").write_text(secret, "utf-8")
    names = [receiver.name for receiver in receivers]
    lines = [f'{name} = "hook-{name}"' for name in names]
    text = (
        'environment = "drill"\nsecrets_dir = "secrets"\n'
        f"[alerts]\nfirst = {json.dumps(names)}\n[alerts.channels]\n" + "\n".join(lines)
    )
    settings = parse_settings(text, workspace=folder)
    return AlertChannels(settings), settings.alerts


@pytest.mark.long
async def test_f50_one_cause_at_fifty_accounts_is_few_messages(open_store, tmp_path):
    """F50: a whitelist that lacks this machine stops 50 accounts with a post for each.

    Each channel gets at most three messages in the first minute, and all accounts are in them. The
    end of it is one message more.
    """
    store = await open_store(*map(make_policy, CITIES))
    adapters = {city: WhitelistPlatform(store.runtime.now) for city in CITIES}
    with serving(Webhook()) as duty, serving(Webhook(name="chief")) as chief:
        channels, rules = make_channels(tmp_path, duty, chief)
        notifier = make_notifier(store, channels, rules, **gathers())
        await enqueue_posts(
            store.posts,
            *(make_post(f"fog-{city}", [city], store.runtime.now()) for city in CITIES),
        )
        for _ in range(20):
            store.runtime.advance_time(3 * SECOND)
            await store.maintenance.run()
            await check_logins_due(store, adapters, 50)
            await send_due(store, adapters, 50, asyncio.Event())
            await notifier.run()
        alerts = await store.queries.alerts()
        assert len([one for one in alerts if one.code == "account_paused"]) == 50
        held = await store.queries.deliveries(states=[State.HELD])
        assert len(held) == 50
        for receiver in (duty, chief):
            assert 1 <= len(receiver.requests) <= MAX_MESSAGES
            assert "[紧急] publisher province" in receiver.accepted[0]["title"]
            assert "50 个账号" in receiver.accepted[0]["title"]
            said = "".join(message["message"] for message in receiver.accepted)
            assert "publisher resume platform:wechat" in said
            assert len(set(receiver.ids())) == len(receiver.ids()) >= 100


async def test_f50_notices_of_one_cause_wait_for_one_another(open_store, receiver):
    """F50: a message waits three seconds from its first notice, and others join it."""
    notifier = make_notifier(await open_store(), receiver, **gathers())
    for number in range(3):
        await open_alert(
            notifier.store, subject=f"login:{number}", account=f"city{number}-wechat"
        )
        await notifier.run()
        notifier.store.runtime.advance_time(SECOND)
    assert receiver.accepted == []
    await notifier.run()
    [(_channel, ids, title, body)] = receiver.accepted
    assert len([key for key in ids if key[0].isdigit()]) == 3
    assert "3 个账号" in title
    assert "3 个账号：city0-wechat，city1-wechat，city2-wechat" in body


@pytest.mark.parametrize(
    ("code", "fact", "number"),
    [("disk_full", "host", "6 台主机"), ("channel_untested", "channel", "6 个通道")],
)
async def test_f50_hosts_and_channels_of_a_group_are_named(
    open_store, receiver, code, fact, number
):
    """F50: the number is in the title, the first five are in the text."""
    notifier = make_notifier(await open_store(), receiver)
    for place in range(6):
        more = {fact: f"x{place}", "since": "2026-11-25T00:00:00+00:00", **NO_ACCOUNT}
        await open_alert(notifier.store, code, f"{code}:{place}", **more)
    await notifier.run()
    [(_channel, _ids, title, body)] = receiver.accepted
    assert number in title
    assert f"{number}，前几个是 x0，x1，x2，x3，x4。" in body


async def test_f50_a_title_names_a_host_once(open_store, receiver):
    notifier = make_notifier(await open_store(), receiver)
    await open_alert(
        notifier.store, "disk_full", "disk_full:x", host="x1", **NO_ACCOUNT
    )
    await notifier.run()
    [(_channel, _ids, title, _body)] = receiver.accepted
    assert title.count("x1") == 1


async def test_f50_the_command_of_a_group_is_about_its_cause_alone(
    open_store, receiver
):
    """F50: two reasons of one code are two groups, and each command names an alert of its own."""
    notifier = make_notifier(await open_store(), receiver)
    for number, reason in enumerate(("x", "y", "x", "y")):
        subject = f"city{number}-weibo"
        await open_alert(
            notifier.store, REFUSED, subject, account=subject, reason=reason
        )
    await notifier.run()
    [(_channel, _ids, _title, body)] = receiver.accepted
    numbers = {
        one.facts["account"]: one.id for one in await notifier.store.queries.alerts()
    }
    for first in ("city0-weibo", "city1-weibo"):
        assert f"alerts dismiss {numbers[first]} --same-cause" in body
    assert "--code" not in body


async def test_f50_a_pause_of_accounts_without_a_platform_names_no_resume_command(
    open_store, receiver
):
    """F50: accounts that the settings lack have no platform, and none can be resumed."""
    notifier = make_notifier(await open_store(), receiver)
    for account in ("gone", "former"):
        await open_alert(
            notifier.store, "account_paused", f"account:{account}", account=account
        )
    await notifier.run()
    [(_channel, _ids, _title, body)] = receiver.accepted
    assert "2 个账号" in body
    assert "resume platform:" not in body


async def test_f50_causes_stay_apart_and_the_most_severe_is_first(open_store, receiver):
    """Another reason, and another platform, are other groups; the end of a problem is last."""
    notifier = make_notifier(await open_store(), receiver)
    store = notifier.store
    await open_alert(store, subject="over", account="a-weibo")
    await notifier.run()
    await close_alert(store, "over")
    await open_alert(store, QUIET, "q", account="q-weibo", days="7", until="2026-12-02")
    for account, reason in (("b-weibo", "x"), ("c-weibo", "y"), ("d-tieba", "x")):
        await open_alert(store, subject=account, account=account, reason=reason)
    store.runtime.advance_time(3 * MINUTE)
    await notifier.run()
    assert [kind for _channel, kind in receiver.kinds()[1:]] == ["新"] * 4 + ["已解除"]
    _channel, _ids, title, body = receiver.accepted[-1]
    assert title.startswith("[紧急]")
    assert title.endswith("另有 4 项")
    assert body.index("q-weibo") > body.index("d-tieba")


async def test_f50_a_channel_gets_three_messages_a_minute(open_store, receiver):
    """F50: later notices wait for the next minute, together, also for a new process."""
    notifier = make_notifier(await open_store(), receiver)
    for number in range(20):
        await open_alert(notifier.store, subject=f"x{number}", reason=f"r{number}")
        await notifier.run()
        notifier.store.runtime.advance_time(SECOND)
    assert len(receiver.accepted) == MAX_MESSAGES
    restarted = make_notifier(notifier.store, receiver)
    await restarted.run()
    assert len(receiver.accepted) == MAX_MESSAGES
    await pass_time(restarted, MINUTE, step=10 * SECOND)
    assert len(receiver.ids()) == 20
    assert len(receiver.accepted) == MAX_MESSAGES + 1


async def test_f50_a_rate_limit_is_a_wait_of_a_minute_and_no_failure(
    open_store, receiver
):
    """F50: a bot that has had too many messages is left alone for a minute.

    New alerts wait too, and nobody is alerted to a failing channel.
    """
    notifier = make_notifier(await open_store(), receiver)
    answer, limited = receiver.send, 0

    async def limit(*_channel, **_message):
        nonlocal limited
        limited += 1
        facts = {"code": "45009", "said": ""}
        return Problem(code="channel_rate_limited", facts=facts)

    notifier.send = limit
    for number in range(25):
        await open_alert(notifier.store, subject=f"x{number}", reason=f"r{number}")
        await notifier.run()
        notifier.store.runtime.advance_time(2 * SECOND)
    assert limited == 1
    notifier.send = answer
    await pass_time(notifier, 12 * SECOND, step=2 * SECOND)
    assert len(receiver.ids()) == 25
    codes = {alert.code for alert in await notifier.store.queries.alerts()}
    assert "alert_channel_failing" not in codes


async def test_f50_a_channel_that_refuses_all_is_asked_few_times(open_store, receiver):
    """F50: halves, and then single groups, keep within the calls that a bot allows."""
    notifier = make_notifier(await open_store(), receiver)
    receiver.broken = {"duty"}
    for number in range(30):
        await open_alert(notifier.store, subject=f"x{number}", reason=f"r{number}")
    await pass_time(notifier, MINUTE, step=2 * SECOND)
    assert receiver.calls["duty"] <= MAX_CALLS
    codes = {alert.code for alert in await notifier.store.queries.alerts()}
    assert "alert_channel_failing" in codes
    receiver.broken = set()
    await pass_time(notifier, 10 * MINUTE, step=10 * SECOND)
    assert len(receiver.ids()) == len(set(receiver.ids())) >= 30


async def test_kinds_of_alerts_go_to_the_people_they_concern(open_store, receiver):
    """A route gives the channels of an audience; one without a route goes to the first list."""
    routes = AlertRoutesEntry(editors=["press"])
    rules = AlertsEntry(
        channels={**CHANNELS, "press": "alert-press"}, first=["duty"], routes=routes
    )
    notifier = make_notifier(await open_store(), receiver, rules)
    await open_alert(notifier.store)
    await open_alert(
        notifier.store, IMPORTANT, "fog", post="fog", due="2026-12-02T01:00:00+00:00"
    )
    await notifier.run()
    assert sorted(receiver.kinds()) == [("duty", "新"), ("press", "新")]
    bodies = {channel: body for channel, _ids, _title, body in receiver.accepted}
    assert bodies["duty"].startswith("给：值班运维\n")
    assert bodies["press"].startswith("给：编辑和审批人\n")
    await close_alert(notifier.store, "fog")
    await pass_time(notifier, 3 * MINUTE)
    assert receiver.kinds()[-1] == ("press", "已解除")


@pytest.mark.parametrize(
    ("lang", "lines"),
    [
        ("zh_CN", ["给：值班运维", "给：编辑和审批人", "给：管理员"]),
        (
            "en",
            [
                "For: operators on duty",
                "For: editors and approvers",
                "For: administrators",
            ],
        ),
    ],
)
async def test_each_part_of_a_message_names_the_people_it_concerns(
    open_store, receiver, lang, lines
):
    """A channel for everybody gets the matters of all: each says whose it is."""
    notifier = make_notifier(await open_store(), receiver, lang=lang)
    await open_alert(notifier.store)
    await open_alert(
        notifier.store, IMPORTANT, "fog", post="fog", due="2026-12-02T01:00:00+00:00"
    )
    facts = {"secret": "weibo-main", "user": "li", "since": "2026-11-25"}
    await open_alert(notifier.store, "rotation_due", "secret", **facts)
    await notifier.run()
    [(_channel, _ids, _title, body)] = receiver.accepted
    *alerts, _digest = body.split("\n\n")
    assert [part.splitlines()[0] for part in alerts] == lines


async def test_outside_of_duty_hours_only_urgent_notices_go_out(
    open_store, receiver, runtime
):
    """The others wait until the hours begin, and so does the time until they are escalated."""
    hours = {"duty_hours": parse_duty_hours("14:00-20:00")}  # it is 09:00 there
    notifier = make_notifier(
        await open_store(), receiver, RULES.model_copy(update=hours)
    )
    await open_alert(notifier.store)
    await open_alert(
        notifier.store, IMPORTANT, "fog", post="fog", due="2026-12-02T01:00:00+00:00"
    )
    await open_alert(
        notifier.store, IMPORTANT, "ice", post="ice", due="2026-12-02T01:00:00+00:00"
    )
    await pass_time(notifier, 2 * HOUR, step=10 * MINUTE)
    assert receiver.kinds() == [("duty", "新"), ("chief", "无人确认")]
    await close_alert(notifier.store, "ice")
    await pass_time(notifier, 3 * HOUR, step=10 * MINUTE)
    in_time = [kind for channel, kind in receiver.kinds()[2:] if channel == "duty"]
    assert sorted(in_time) == sorted(["仍未解决", "新", "已解除"])
    assert [kind for channel, kind in receiver.kinds() if channel == "chief"].count(
        "无人确认"
    ) == 1
    await pass_time(notifier, 20 * MINUTE, step=5 * MINUTE)
    assert receiver.kinds()[-1] == ("chief", "无人确认")


async def test_an_urgent_post_that_waits_for_its_release_is_notified_by_night(
    open_store, receiver
):
    """The message says that it is urgent, comes before others, and names the way out."""
    hours = {"duty_hours": parse_duty_hours("14:00-20:00")}  # it is 09:00 there
    notifier = make_notifier(
        await open_store(), receiver, RULES.model_copy(update=hours)
    )
    await open_alert(
        notifier.store,
        "urgent_approval_needed",
        "fog",
        account="",
        reason="",
        post="fog",
        due="2026-11-25T01:00:00+00:00",
        stages="终审",
    )
    await notifier.run()
    [(_channel, _ids, title, body)] = receiver.accepted
    assert title.startswith("[紧急]")
    assert "紧急：fog 等人放行" in body
    assert "待办" in body


@pytest.mark.parametrize(
    ("text", "is_within"),
    [("08:00-20:00", True), ("20:00-08:00", False), ("08:30-09:00", False)],
)
def test_duty_hours_may_pass_midnight(text, is_within, runtime):
    """The end is on the next day if it lies before the begin. It is 09:00."""
    assert parse_duty_hours(text).include(runtime.now().replace(hour=9)) is is_within
