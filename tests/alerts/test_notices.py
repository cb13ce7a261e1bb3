"""Notices of alerts by the manual clock: their times, receivers and ids; none is lost."""

import asyncio
import json
import re
from collections import Counter
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event, select

from publisher.app.format import Formatter
from publisher.domain.audit_chain import Checkpoint, format_checkpoint, parse_checkpoint
from publisher.domain.errors import Problem
from publisher.engine.decisions import named_person
from publisher.engine.notice_writer import MAX_MESSAGE_BYTES, NoticeWriter
from publisher.engine.notifier import MAX_CALLS, Notifier
from publisher.i18n import Messages
from publisher.runtime.redaction import register_secrets
from publisher.settings_file import AlertsEntry
from publisher.store.db.alert_tables import ALERT, NOTICE
from publisher.store.db.rows import (
    clear_alerts,
    keep_alert,
    raise_alert,
    replace_alerts,
)
from publisher.store.notices import CLOSE_DELAY, NOTICE_LEASE, NoticeKind
from publisher.store.retention import prune
from tests.store.test_backup import BackupWorkspace

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONE = ZoneInfo("Asia/Shanghai")
CHANNELS = {"duty": "alert-duty", "chief": "alert-chief"}
RULES = AlertsEntry(
    channels=CHANNELS,
    first=["duty"],
    second=["chief"],
    dashboard="https://publisher.example.gov.cn/",
)
REFUSED = "login_refused"
HEAD = Checkpoint(
    database="publisher.db",
    chain="c" * 64,
    sequence=9,
    hash="f" * 64,
    at="2026-11-25T00:00:00+00:00",
)


class Receiver:
    """A receiver for all channels that keeps its messages.

    The channels in `broken` refuse, as all do some words. Those in `partly_broken` accept for some
    recipients.
    """

    def __init__(self):
        self.accepted: list[tuple[str, tuple[str, ...], str, str]] = []
        self.broken: set[str] = set()
        self.partly_broken: set[str] = set()
        self.refused_words: list[str] = []
        self.calls: Counter[str] = Counter()

    async def send(self, channel, *, ids, title, body, is_problem=True):
        self.calls[channel] += 1
        if channel in self.broken or any(words in body for words in self.refused_words):
            return Problem(code="channel_refused", facts={"code": "500", "said": ""})
        self.accepted.append((channel, tuple(ids), title, body))
        if channel in self.partly_broken:
            facts = {"number": "1", "code": "550", "said": ""}
            return Problem(code="channel_partly_refused", facts=facts)
        return None

    def kinds(self):
        """Return channel and kind of each notice about an alert, in order."""
        return [
            (channel, kind)
            for channel, _ids, _title, body in self.accepted
            for kind in re.findall(r"【\d+｜(.*?)】", body)
        ]

    def ids(self, channel="duty"):
        """Return the ids of the notices about alerts that a channel has accepted, in order."""
        return [
            key
            for sent, ids, _title, _body in self.accepted
            if sent == channel
            for key in ids
            if key[0].isdigit()
        ]

    def numbers(self):
        """Return the beginnings of these ids: the numbers of the alert and of its notice."""
        return [key.partition("@")[0] for key in self.ids()]


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
async def notifier(open_store, receiver):
    return make_notifier(await open_store(), receiver)


def make_notifier(store, receiver, rules=RULES, lang="zh_CN", **more):
    """Return a notifier; its messages wait for no others unless `gather_period` says so."""
    messages = Messages(lang)
    formatter = Formatter(messages=messages, timezone=ZONE)

    async def read_checkpoint():
        return HEAD

    return Notifier(
        store=store,
        rules=rules,
        timezone=ZONE,
        writer=NoticeWriter(
            messages=messages,
            dashboard=rules.dashboard,
            describe=formatter.alert,
            name_cause=formatter.cause,
            format_time=formatter.time,
            workspace="province",
            platform_of=lambda account: account.partition("-")[2],
        ),
        send=receiver.send,
        read_checkpoint=read_checkpoint,
        **{"gather_period": timedelta(), **more},
    )


async def open_alert(store, code=REFUSED, subject="login:fake/a", **facts):
    """Keep an alert open, as the job that finds its cause does."""
    known = {"account": "a", "reason": "weibo_21327", **facts}
    await store.database.write(
        lambda unit: keep_alert(unit, store.runtime.now(), code, subject, known)
    )


async def close_alert(store, subject="login:fake/a"):
    await store.database.write(
        lambda unit: clear_alerts(unit, subject, store.runtime.now())
    )


async def pass_time(notifier, duration, step=MINUTE):
    """Let time pass, and the job run after each step."""
    for _ in range(duration // step):
        notifier.store.runtime.advance_time(step)
        await notifier.run()


async def rows_of(store, table):
    return await store.database.read(
        lambda connection: connection.execute(select(table)).mappings().all()
    )


async def test_an_alert_is_opened_escalated_repeated_and_closed(notifier, receiver):
    """An alert is opened, escalated, repeated and closed, once each.

    Every notice has the number of the alert in its id. The second list gets it when nobody reacts.
    """
    await open_alert(notifier.store)
    await notifier.run()
    assert receiver.kinds() == [("duty", "新")]
    await pass_time(notifier, 14 * MINUTE)
    assert receiver.kinds() == [("duty", "新")]
    await pass_time(notifier, 2 * MINUTE)
    assert receiver.kinds()[1:] == [("chief", "无人确认")]
    await pass_time(notifier, 4 * HOUR + 20 * MINUTE, step=20 * MINUTE)
    assert sorted(receiver.kinds()[2:]) == [("chief", "仍未解决"), ("duty", "仍未解决")]
    await close_alert(notifier.store)
    await pass_time(notifier, 5 * MINUTE)
    assert sorted(receiver.kinds()[4:]) == [("chief", "已解除"), ("duty", "已解除")]
    await pass_time(notifier, DAY, step=HOUR)
    assert len(receiver.kinds()) == 6
    [alert] = await rows_of(notifier.store, ALERT)
    assert {key.partition("-")[0] for key in receiver.ids()[:3]} == {str(alert["id"])}


async def test_an_acknowledged_alert_is_quiet_until_it_is_over(notifier, receiver):
    """`alerts dismiss` ends repeats and escalation; that it is over is still said."""
    await open_alert(notifier.store)
    await notifier.run()
    [alert] = await notifier.store.queries.alerts()
    assert await notifier.store.actions.dismiss_alert(alert.id, named_person("王"))
    await pass_time(notifier, 9 * HOUR, step=30 * MINUTE)  # no job of its end runs here
    assert receiver.kinds() == [("duty", "新"), ("duty", "已有人确认")]
    assert not any("王" in body for _channel, _ids, _title, body in receiver.accepted)
    await close_alert(notifier.store)
    await pass_time(notifier, 5 * MINUTE)
    assert receiver.kinds()[2:] == [("duty", "已解除")]


@pytest.mark.parametrize("code", [REFUSED, "credentials_expiring"])
async def test_who_gives_an_alert_back_has_people_notified_of_it_again(
    notifier, receiver, code
):
    """An alert that a person gives back is notified again.

    Otherwise all think that somebody has taken it on, and the alert is not repeated for ever.
    """
    actions, wang = notifier.store.actions, named_person("王")
    await open_alert(notifier.store, code)
    await notifier.run()
    [alert] = await notifier.store.queries.alerts()
    await actions.dismiss_alert(alert.id, wang)
    await pass_time(notifier, MINUTE)
    assert await actions.restore_alert(alert.id, wang)
    await pass_time(notifier, 2 * MINUTE)
    assert receiver.kinds() == [
        ("duty", "新"),
        ("duty", "已有人确认"),
        ("duty", "仍未解决"),
    ]


@pytest.mark.long
async def test_a_notice_waits_for_a_channel_as_long_as_the_alert_is_open(
    notifier, receiver
):
    """A channel that refuses for two days gets the alert once it works, under one id.

    The failure of the channel is an alert.
    """
    receiver.broken = {"duty"}
    await open_alert(notifier.store)
    await pass_time(notifier, MINUTE, step=timedelta(seconds=5))
    codes = [alert.code for alert in await notifier.store.queries.alerts()]
    assert sorted(codes) == ["alert_channel_failing", REFUSED]
    await pass_time(notifier, 2 * DAY, step=HOUR)
    assert receiver.ids("duty") == []
    receiver.broken = set()
    await pass_time(notifier, 30 * MINUTE)
    alerts = {
        alert["code"]: alert["id"] for alert in await rows_of(notifier.store, ALERT)
    }
    numbers = [key.partition("-")[0] for key in receiver.ids("duty")]
    assert str(alerts[REFUSED]) in numbers
    assert max(Counter(receiver.ids("duty")).values()) == 1
    assert [alert.code for alert in await notifier.store.queries.alerts()] == [REFUSED]


async def test_a_message_that_some_recipients_cannot_get_comes_once_to_the_others(
    notifier, receiver
):
    """The channel is an alert until all of its recipients accept."""
    receiver.partly_broken = {"duty"}
    await open_alert(notifier.store)
    await pass_time(notifier, 30 * MINUTE)
    assert max(Counter(receiver.ids("duty")).values()) == 1
    alerts = await notifier.store.queries.alerts()
    [failing] = [alert for alert in alerts if alert.code == "alert_channel_failing"]
    assert "550" in failing.facts["reason"]
    receiver.partly_broken = set()
    await open_alert(notifier.store, subject="login:fake/new")
    await notifier.run()
    codes = {alert.code for alert in await notifier.store.queries.alerts()}
    assert codes == {REFUSED}


async def test_a_channel_that_works_again_gets_all_that_it_has_missed(
    notifier, receiver
):
    """The first notice that a channel accepts brings the missed ones.

    They would otherwise wait up to a quarter of an hour.
    """
    receiver.broken = {"duty"}
    for number in range(3):
        await open_alert(notifier.store, subject=f"login:fake/{number}")
        await pass_time(notifier, 20 * MINUTE)
    receiver.broken = set()
    await open_alert(notifier.store, subject="login:fake/new")
    await notifier.run()
    about = {key.partition("-")[0] for key in receiver.ids()}
    assert about == {
        str(alert["id"])
        for alert in await rows_of(notifier.store, ALERT)
        if alert["code"] == REFUSED
    }


@pytest.mark.parametrize("refused", [(0,), (2,), (3,), (0, 2)])
async def test_a_notice_that_is_refused_for_its_words_keeps_no_other_waiting(
    notifier, receiver, refused
):
    """A notice refused for its words delays no other notice of the channel.

    Of several causes the channel gets all others within the minute, and later ones too. It is not
    asked without end.
    """
    receiver.refused_words = [f"beijing-{number} 登录" for number in refused]
    for number in range(4):
        await open_alert(
            notifier.store,
            subject=f"login:fake/{number}",
            account=f"beijing-{number}",
            reason=f"cause-{number}",
        )
    await pass_time(notifier, timedelta(seconds=58), step=timedelta(seconds=2))
    assert len(receiver.ids()) == len(set(receiver.ids())) == 4 - len(refused)
    assert receiver.calls["duty"] <= MAX_CALLS
    asked = receiver.calls["duty"]
    await pass_time(notifier, 14 * MINUTE, step=timedelta(seconds=30))
    assert receiver.calls["duty"] - asked < 20
    await open_alert(notifier.store, subject="login:fake/new")
    await pass_time(notifier, timedelta(seconds=10), step=timedelta(seconds=2))
    assert len(receiver.ids()) == 5 - len(refused)


async def test_every_other_channel_reports_the_one_that_fails(notifier, receiver):
    """The alert about a failing channel goes to the others.

    It goes there after escalation to the second list. The status shows it at once.
    """
    receiver.broken = {"duty"}
    await open_alert(notifier.store)
    await pass_time(notifier, 20 * MINUTE, step=timedelta(seconds=30))
    assert any(
        "duty" in body
        for channel, _ids, _title, body in receiver.accepted
        if channel == "chief"
    )
    failing = [
        alert
        for alert in await notifier.store.queries.alerts()
        if alert.code == "alert_channel_failing"
    ]
    assert [alert.facts["channel"] for alert in failing] == ["duty"]


async def test_what_a_dead_host_has_claimed_is_sent_by_another_with_the_same_id(
    open_store, receiver, runtime
):
    """A host that dies after sending may cause a second message, under the same id.

    A host that works causes none.
    """
    first, second = [
        make_notifier(await open_store(worker=f"w:{number}"), receiver)
        for number in (1, 2)
    ]
    await open_alert(first.store)
    await first.store.notices.plan(RULES)
    [claimed] = await first.store.notices.claim("duty")
    await receiver.send(
        "duty", ids=[claimed.key], title="t", body="b"
    )  # and here the host dies
    await second.run()
    assert receiver.ids() == [claimed.key]
    runtime.advance_time(NOTICE_LEASE)
    await second.run()
    assert receiver.ids() == [claimed.key] * 2


async def test_f85_no_id_is_used_again_after_an_older_database_is_restored(tmp_path):
    """The numbers of alerts are used again after a restore, but no id is.

    A receiver that removes duplicates by the id must not drop a new alert.
    """
    workspace = await BackupWorkspace(tmp_path).open()
    workspace.copy()

    async def plan_notices():
        for number in range(3):
            await open_alert(workspace.store, subject=f"login:fake/{number}")
        await workspace.store.notices.plan(RULES)
        await workspace.store.notices.add(
            NoticeKind.DIGEST, "digest-2026-11-25", ["duty"]
        )
        return [notice.key for notice in await workspace.store.notices.claim("duty")]

    lost = await plan_notices()
    await workspace.close()
    await workspace.restore_backup(workspace.backup)
    await workspace.open()
    workspace.runtime.advance_time(MINUTE)
    later = await plan_notices()
    await workspace.close()
    assert {key.partition("@")[0] for key in lost} <= {
        key.partition("@")[0] for key in later
    }
    assert set(lost).isdisjoint(later)


async def test_two_hosts_send_each_notice_once(open_store, receiver, runtime):
    """While both hosts work, neither sends a notice that the other has claimed."""
    hosts = [
        make_notifier(await open_store(worker=f"w:{number}"), receiver)
        for number in (1, 2)
    ]
    for number in range(30):
        await open_alert(hosts[0].store, subject=f"login:fake/{number}")
    for _ in range(20):
        await asyncio.gather(*(host.run() for host in hosts))
        runtime.advance_time(timedelta(seconds=2))
    assert sorted(Counter(receiver.ids()).values()) == [1] * 30


async def test_that_an_alert_is_over_is_given_up_after_a_day(notifier, receiver):
    """A channel that is gone for good does not collect notices without further use."""
    await open_alert(notifier.store)
    await notifier.run()
    receiver.broken = {"duty"}
    await close_alert(notifier.store)
    await pass_time(notifier, 26 * HOUR, step=HOUR)
    unsent = [
        row
        for row in await rows_of(notifier.store, NOTICE)
        if row["kind"] == "closed" and not row["is_sent"]
    ]
    assert {row["channel"] for row in unsent} == {"duty"}
    assert all(row["ended_at"] is not None for row in unsent)


@pytest.mark.long
@pytest.mark.parametrize("up", [1, 3, 20])
async def test_a_week_of_flapping_gives_one_alert(notifier, receiver, up):
    """A login that fails for half an hour again and again is one alert, opened once.

    It is over only when the fault stays away.
    """
    store, step, down = notifier.store, 15 * MINUTE, 2
    for turn in range(7 * 24 * 4):
        if turn % (down + up) == 0:
            await open_alert(store)
        elif turn % (down + up) == down:
            await close_alert(store)
        store.runtime.advance_time(step)
        await notifier.run()
    await close_alert(store)
    await pass_time(notifier, 2 * DAY, step=HOUR)
    [alert] = await rows_of(store, ALERT)
    kinds = Counter(kind for channel, kind in receiver.kinds() if channel == "duty")
    assert kinds["新"] == 1
    assert kinds["已解除"] + kinds["仍未解决"] <= 60, kinds
    assert receiver.kinds()[-1][1] == "已解除"
    assert alert["is_settled"]


async def test_changed_facts_are_news(notifier, receiver):
    """Changed facts are notified: credentials end in three days instead of seven.

    This holds although the seven days were acknowledged.
    """
    await open_alert(
        notifier.store, "credentials_expiring", days="7", until="2026-12-02"
    )
    await notifier.run()
    [alert] = await notifier.store.queries.alerts()
    await notifier.store.actions.dismiss_alert(alert.id, named_person("王"))
    await pass_time(notifier, HOUR, step=10 * MINUTE)
    await open_alert(
        notifier.store, "credentials_expiring", days="3", until="2026-12-02"
    )
    await pass_time(notifier, DAY, step=HOUR)
    assert [kind for _channel, kind in receiver.kinds()] == [
        "新",
        "已有人确认",
        "仍未解决",
    ]


async def test_a_login_that_is_refused_blocked_and_refused_again_is_news_each_time(
    notifier, receiver
):
    """An alert that comes back after another stood for it is notified once more.

    This holds although it was acknowledged.
    """
    store = notifier.store
    for code in (REFUSED, "account_blocked", REFUSED):
        await store.database.write(
            lambda unit, code=code: replace_alerts(
                unit, store.runtime.now(), code, "login:fake/a", {"account": "a"}
            )
        )
        await notifier.run()
        newest = (await store.queries.alerts())[0]
        if code == REFUSED and len(receiver.accepted) == 1:
            await store.actions.dismiss_alert(newest.id, named_person("王"))
        await pass_time(notifier, HOUR)
    assert [kind for channel, kind in receiver.kinds() if channel == "duty"] == [
        "新",
        "已有人确认",
        "新",
        "仍未解决",
    ]
    assert [row["dismissed_at"] for row in await rows_of(store, ALERT)] == [None, None]


async def test_without_news_the_job_asks_two_questions(notifier, receiver):
    """Every two seconds the job asks for alerts in need of a notice.

    It also asks for channels with a waiting notice, and nothing else.
    """
    await open_alert(notifier.store)
    await notifier.run()
    statements = []

    def count(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(notifier.store.database.engine, "before_cursor_execute", count)
    await notifier.run()
    asked = [
        statement.partition(" ")[0]
        for statement in statements
        if not statement.startswith("BEGIN")
    ]
    assert asked == ["SELECT"] * 2


async def test_many_alerts_share_messages_of_a_size_that_every_channel_takes(
    notifier, receiver
):
    """A hundred causes at once are one message: without room for all, it counts the others."""
    for number in range(100):
        await open_alert(
            notifier.store, subject=f"login:fake/{number}", reason=f"cause-{number}"
        )
    await notifier.run()
    assert len(receiver.ids()) == len(set(receiver.ids())) == 100
    assert len(receiver.accepted) == 1
    assert all(
        len(body.encode()) <= MAX_MESSAGE_BYTES
        for _channel, _ids, _title, body in receiver.accepted
    )


@pytest.mark.parametrize(
    ("lang", "words"), [("zh_CN", "等待人工处理"), ("en", "waits for a person")]
)
async def test_i19_a_notice_names_what_to_do_and_no_secret_and_nobody(
    open_store, receiver, lang, words
):
    """I19: a notice has post, account, state, the action to take, and a link.

    It has no planted secret, no words of a platform and no names.
    """
    secret = "2.00CanaryTokenOfWeiboAbCdEfGh"
    register_secrets([secret])
    notifier = make_notifier(await open_store(), receiver, lang=lang)
    facts = {
        "post": "fog",
        "account": "a",
        "reason": "captcha",
        "said": f"token {secret} of 李四",
    }

    def raise_all(unit):
        now = notifier.store.runtime.now()
        raise_alert(unit, now, "held.captcha", "fog@a", facts)
        raise_alert(
            unit,
            now,
            "break_glass",
            "x",
            {"user": "zhangsan", "by": "李四", "action": "resume"},
        )
        raise_alert(
            unit,
            now,
            "sign_in_reset",
            "user:x",
            {"user": "zhangsan", "by": "李四", "second": "王五"},
        )
        raise_alert(
            unit,
            now,
            "reload_refused",
            "schedule",
            {"reason": f"schedule.toml:3: 李四 {secret}"},
        )

    await notifier.store.database.write(raise_all)
    await notifier.run()
    sent = json.dumps(receiver.accepted, ensure_ascii=False)
    assert words in sent
    assert "publisher why fog@a" in sent
    assert re.search(r"https://publisher\.example\.gov\.cn/alerts#alert-\d", sent)
    assert not any(
        planted in sent
        for planted in (secret, secret[4:20], "李四", "王五", "zhangsan")
    )


async def test_the_digest_lists_the_most_urgent_alerts_first(open_store):
    """Newer alerts that can wait do not push an urgent one out of the list."""
    store = await open_store()
    for code in ("account_paused", "manual_task_waiting", "backlog", "job_failing"):
        await open_alert(store, code, subject=f"x:{code}")
    digest = await store.notices.digest()
    assert [alert.code for alert in digest.alerts] == [
        "job_failing", "account_paused", "backlog", "manual_task_waiting",
    ]  # fmt: skip


async def test_one_digest_and_one_checkpoint_a_day(open_store, receiver):
    """The digest comes at its hour, with the open alerts.

    The checkpoint's line is one that an auditor can compare.
    """
    rules = RULES.model_copy(update={"checkpoints": ["chief"], "digest_hour": 10})
    notifier = make_notifier(await open_store(), receiver, rules)
    await open_alert(
        notifier.store, "credentials_expiring", days="7", until="2026-12-02"
    )
    await pass_time(notifier, 3 * DAY, step=20 * MINUTE)
    digests = [
        body for _channel, _ids, title, body in receiver.accepted if "汇总" in title
    ]
    lines = [
        body for channel, _ids, title, body in receiver.accepted if "锚点" in title
    ]
    assert len(digests) == len(lines) == 3
    assert all("凭证还剩 7 天" in digest for digest in digests)
    assert parse_checkpoint(lines[0]) == HEAD
    assert lines[0] == format_checkpoint(HEAD)


async def test_without_channels_nothing_is_written_and_old_alerts_stay_unsaid(
    open_store, receiver, runtime
):
    """Channels that are added later report open alerts.

    They report nothing that was over long before.
    """
    store = await open_store()
    silent = make_notifier(store, receiver, AlertsEntry())
    await open_alert(store)
    await open_alert(store, subject="login:fake/b")
    await close_alert(store, "login:fake/b")
    await pass_time(silent, 3 * HOUR, step=HOUR)
    assert await rows_of(store, NOTICE) == []
    await make_notifier(store, receiver).run()
    assert receiver.kinds()[:1] == [("duty", "新")]
    assert len(receiver.ids("duty")) == 1


async def test_a_clock_set_back_keeps_no_notice_waiting(notifier, receiver, runtime):
    """A notice that a wrong clock has put off until tomorrow is sent now."""
    receiver.broken = {"duty"}
    runtime.jump_clock(DAY)
    await open_alert(notifier.store)
    await notifier.run()
    runtime.jump_clock(-DAY)
    receiver.broken = set()
    await notifier.run()
    assert len(receiver.ids("duty")) == 1


async def test_an_alert_that_was_over_before_anybody_knew_is_reported_once(
    notifier, receiver
):
    """It is said that it was there and is over."""
    await open_alert(notifier.store)
    await close_alert(notifier.store)
    await pass_time(notifier, 2 * CLOSE_DELAY)
    assert receiver.kinds() == [("duty", "已解除")]


async def test_what_comes_back_is_escalated_only_when_nobody_reacts_again(
    notifier, receiver
):
    """An alert that comes back gives the first list its time before the second.

    People have been notified that it was over.
    """
    await open_alert(notifier.store)
    await notifier.run()
    await close_alert(notifier.store)
    await pass_time(notifier, 2 * HOUR, step=10 * MINUTE)
    await open_alert(notifier.store)
    await pass_time(notifier, 14 * MINUTE)
    assert receiver.kinds() == [
        ("duty", "新"),
        ("duty", "已解除"),
        ("duty", "仍未解决"),
    ]
    await pass_time(notifier, 2 * MINUTE)
    assert receiver.kinds()[3:] == [("chief", "无人确认")]


@pytest.mark.parametrize(
    "rules",
    [AlertsEntry(), AlertsEntry(channels={"chief": "alert-chief"}, first=["chief"])],
)
async def test_the_alert_about_a_channel_ends_with_the_channel(
    notifier, receiver, rules
):
    """The alert about a channel ends when the channel leaves the settings.

    Notices that wait for it end as well.
    """
    receiver.broken = {"duty"}
    await open_alert(notifier.store)
    await pass_time(notifier, 5 * MINUTE)
    assert "alert_channel_failing" in {
        alert.code for alert in await notifier.store.queries.alerts()
    }
    await make_notifier(notifier.store, receiver, rules).run()
    assert [alert.code for alert in await notifier.store.queries.alerts()] == [REFUSED]
    assert all(
        row["ended_at"]
        for row in await rows_of(notifier.store, NOTICE)
        if row["channel"] == "duty"
    )


async def test_what_no_channel_has_got_goes_to_those_that_replace_it(
    notifier, receiver
):
    """With a channel renamed, people get the waiting notices at once.

    The alerts may be new, acknowledged or over.
    """
    store, waiting = notifier.store, ("acknowledged", "over", "known")
    for name in waiting:
        await open_alert(store, subject=name)
    await notifier.run()
    receiver.broken = {"duty"}
    [acknowledged] = [
        alert
        for alert in await store.queries.alerts()
        if alert.subject == "acknowledged"
    ]
    await store.actions.dismiss_alert(acknowledged.id, named_person("王"))
    await close_alert(store, "over")
    await open_alert(
        store, "credentials_expiring", "quiet", days="7", until="2026-12-02"
    )
    await pass_time(notifier, 2 * HOUR, step=10 * MINUTE)
    receiver.accepted.clear()
    replaced = make_notifier(
        store, receiver, AlertsEntry(channels={"wecom": "alert-wecom"}, first=["wecom"])
    )
    await replaced.run()
    assert receiver.kinds() == [
        ("wecom", kind) for kind in ("新", "已有人确认", "已解除")
    ]


async def test_a_channel_that_another_stands_beside_is_removed_in_silence(
    open_store, receiver
):
    """A notice that one channel has accepted is not sent again.

    This holds when the other channel is taken out of the settings.
    """
    both = AlertsEntry(channels=CHANNELS, first=["duty", "chief"])
    notifier = make_notifier(await open_store(), receiver, both)
    receiver.broken = {"duty"}
    await open_alert(notifier.store)
    await notifier.run()
    chief = AlertsEntry(channels={"chief": "alert-chief"}, first=["chief"])
    await pass_time(make_notifier(notifier.store, receiver, chief), 5 * MINUTE)
    assert receiver.kinds() == [("chief", "新")]


async def test_what_a_host_with_older_settings_has_left_is_sent(
    notifier, receiver, runtime
):
    """A notice for a channel that only a host knew that is gone reaches people within a minute."""
    store = notifier.store
    renamed = make_notifier(
        store, receiver, AlertsEntry(channels={"wecom": "alert-wecom"}, first=["wecom"])
    )
    await renamed.run()
    await open_alert(store)
    await store.notices.plan(
        RULES
    )  # and here the host with the older settings is switched off
    await renamed.run()
    assert receiver.kinds() == []
    await pass_time(renamed, MINUTE, step=timedelta(seconds=10))
    assert receiver.kinds() == [("wecom", "新")]


async def test_channels_that_come_after_none_report_what_nobody_got(notifier, receiver):
    """An alert with only a failed and removed channel is new to a channel added days later."""
    receiver.broken = {"duty"}
    await open_alert(notifier.store)
    await notifier.run()
    await make_notifier(notifier.store, receiver, AlertsEntry()).run()
    notifier.store.runtime.advance_time(DAY)
    receiver.broken = set()
    await make_notifier(notifier.store, receiver).run()
    assert receiver.kinds()[0] == ("duty", "新")


@pytest.mark.long
async def test_i24_alerts_that_are_over_are_deleted_in_the_end(notifier, receiver):
    """I24: open alerts stay, however old.

    An ended alert is read no longer once it is not shown.
    """
    store = notifier.store
    await open_alert(store)
    await open_alert(store, subject="login:fake/b")
    await close_alert(store, "login:fake/b")
    await open_alert(store, code="expired.too_late", subject="p@a", post="p")
    await pass_time(notifier, 8 * DAY, step=DAY)
    await prune(store, 30 * DAY)
    kept = {(row["subject"], row["is_settled"]) for row in await rows_of(store, ALERT)}
    assert kept == {("login:fake/a", False), ("login:fake/b", True), ("p@a", True)}
    await pass_time(notifier, 30 * DAY, step=DAY)
    await prune(store, 30 * DAY)
    assert [row["subject"] for row in await rows_of(store, ALERT)] == ["login:fake/a"]


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
async def test_the_title_names_a_host_once(open_store, receiver, lang):
    """An alert whose own words begin with its host is not introduced by it as well."""
    store = await open_store()
    notifier = make_notifier(store, receiver, lang=lang)
    await store.system_alerts.set_files_alert("restart it")
    await notifier.run()
    [(_channel, _ids, title, _body)] = receiver.accepted
    host = store.worker.partition(":")[0]
    assert (title.count(host), "restart it" in title) == (1, True)
