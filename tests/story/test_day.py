"""One day of 150 accounts, in a world whose clock is hurried: everything ends, or waits for a person with a reason."""

import asyncio
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest
import tomlkit

from publisher.cli.demo.drill import Drill, drill_files
from publisher.cli.groundwork import workspace_files
from publisher.cli.narrating import Narrator
from publisher.cli.regions import read_regions
from publisher.delivering import deliver_due
from publisher.domain.delivery import OPEN, State
from publisher.keeping import keep
from publisher.messages import Messages
from publisher.planning import reload
from publisher.reconciling import reconcile_due
from publisher.retracting import retract_due
from publisher.settings import load_settings
from publisher.watching import probe_due, watch_due
from publisher.wiring.application import open_application
from publisher.world import World

STEP = timedelta(seconds=60)
DAY = timedelta(hours=26)
HOURS = (1, 3, 6, 9, 12)
POST = """
[[post]]
id = "day-{number}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗第{number}期"
at = {at}
to = ["all"]
expires = {expires}
max_late = "6h"
urgent = {urgent}
body = "正规退款原路退回，不需要转账。自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。"
[post.data]
summary = "凡自称客服要求转账退款的都是诈骗，请挂断"
"""


@dataclass(slots=True)
class HurriedWorld(World):
    """The real clock, put forward whenever told to."""

    shift: timedelta = field(default=timedelta(0))

    def now(self):
        return World.now(self) + self.shift

    def monotonic(self):
        return World.monotonic(self) + self.shift.total_seconds()


def found(folder, address):
    """Make a drill workspace of fifty regions with every platform's own limits and waits. Returns its accounts."""
    drill = Drill(regions=read_regions()[:50], address=address)
    files = {**workspace_files(), **drill_files(drill)}
    settings = tomllib.loads(files["publisher.toml"].decode())
    del settings["limits"]
    files["publisher.toml"] = tomlkit.dumps({**settings, "public_ip": "192.0.2.1"}).encode()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return drill.accounts


def schedule_of(began_at):
    """Write the day's posts, one of them urgent."""
    return "".join(
        POST.format(
            number=number,
            at=f"{began_at + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}",
            expires=f"{began_at + timedelta(hours=hour + 10):%Y-%m-%dT%H:%M:%SZ}",
            urgent="true" if number == 2 else "false",
        )
        for number, hour in enumerate(HOURS)
    )


def disturb(simulator, accounts, dice):
    """Arrange the day's troubles; give the accounts that each of them hits for good."""

    def some(platform, number):
        return [account.identity for account in dice.sample([a for a in accounts if a.platform == platform], number)]

    def fault(platform, kind, account=None, **more):
        rule = {"platform": platform, "endpoint": "*", **more, "fault": {"kind": kind, **more.pop("facts", {})}}
        rule.pop("facts", None)
        simulator.post("/_sim/faults", {**rule, **({"account": account} if account else {})})

    for platform, endpoint in (("weibo", "/2/statuses/share.json"), ("wechat", "/cgi-bin/freepublish/submit")):
        fault(platform, "drop_after", endpoint=endpoint, probability=0.05, seed=dice.randrange(10**6))
    reviewed, refused = some("wechat", 6), some("wechat", 3)
    for identity in reviewed:
        fault(
            "wechat",
            "review",
            identity,
            endpoint="/cgi-bin/freepublish/submit",
            nth="every",
            facts={"seconds": 1500, "verdict": "pass"},
        )
    for identity in refused:
        fault(
            "wechat",
            "review",
            identity,
            endpoint="/cgi-bin/freepublish/submit",
            nth="every",
            facts={"seconds": 600, "verdict": "refuse"},
        )
    for identity in some("wechat", 8):
        fault("wechat", "expire_token", identity, endpoint="/cgi-bin/draft/add", nth=[2])
    expired = some("weibo", 3)
    for identity in expired:
        fault("weibo", "expire_token", identity, nth="every")
    for identity in some("weibo", 5):
        fault("weibo", "api_error", identity, endpoint="/2/statuses/share.json", nth=[1, 2], facts={"code": 10023})
    captcha = some("tieba", 3)
    for identity in captcha:
        fault("tieba", "captcha", identity, nth="every", endpoint="/f/commit/thread/add")
    return {"expired": expired, "refused": refused, "captcha": captcha}


@dataclass(slots=True)
class Day:
    """The application, its world, and the platforms, in step."""

    application: object
    world: HurriedWorld
    simulator: object
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def pass_time(self, duration, act=None):
        """Let time pass on both sides, with the daemon's beats at each step."""
        for step in range(duration // STEP):
            self.world.shift += STEP
            await asyncio.to_thread(self.simulator.post, "/_sim/clock", {"shift": STEP.total_seconds()})
            await self.beat(step)

    async def beat(self, step):
        app = self.application
        await keep(app.rounds)
        await deliver_due(app.outbox, app.adapters, 200, self.stopping)
        await reconcile_due(app.outbox, app.adapters, 50)
        await retract_due(app.outbox, app.adapters, 50)
        await watch_due(app.watches, app.adapters, 30)
        if step % 15 == 0:
            await probe_due(app.checkups, app.adapters, 200)


def creations(simulator):
    """Count what was created, by account and text."""
    return Counter((post["account"], post["text"][:200]) for post in simulator.get("/_sim/posts"))


@pytest.mark.parametrize("seed", [7])
async def test_a_day_of_150_accounts_ends_settled_or_held_with_a_reason(simulator, tmp_path, seed):
    """Reviews, dead tokens, rate limits, captchas, lost replies, deletions: nothing doubled, lost or without words."""
    dice = Random(seed)  # noqa: S311 # repeatable on purpose
    accounts = found(tmp_path, simulator.url)
    world = HurriedWorld()
    began_at = datetime.fromtimestamp(world.now().timestamp() // 60 * 60, world.now().tzinfo)
    hit = disturb(simulator, accounts, dice)
    async with open_application(await load_settings(tmp_path), world, sends=True) as application:
        filed = await reload(application.planner, schedule_of(began_at), "schedule.toml")
        assert filed == len(accounts) * len(HOURS) == 750
        day = Day(application, world, simulator)
        await day.pass_time(timedelta(hours=8))
        live = [row for row in await application.board.deliveries() if row.state is State.PUBLISHED]
        removed = dice.sample([row for row in live if row.platform == "weibo"], 4)
        for row in removed:
            await asyncio.to_thread(simulator.delete, f"/_sim/posts/{row.receipt.remote_id}")
        await day.pass_time(DAY - timedelta(hours=8))
        rows = await application.board.deliveries()
        alerts = {alert.subject for alert in await application.board.alerts()}
        narrator = Narrator(messages=Messages("zh_CN"), timezone=application.settings.timezone)
    states = Counter(row.state for row in rows)
    assert not {state for state in states if state in OPEN} - {State.HELD}, states
    assert states[State.PUBLISHED] > 600, states
    assert max(creations(simulator).values()) == 1
    assert {row.id for row in removed} <= {row.id for row in rows if row.state is State.REMOVED}
    for row in rows:
        if row.state in {State.HELD, State.FAILED, State.EXPIRED, State.REMOVED}:
            assert f"{row.key.post}@{row.account}" in alerts
            assert narrator.reason(row.reason) not in {None, "", row.reason}
    stopped = Counter(row.account for row in rows if row.state is not State.PUBLISHED)
    identities = {account.id: account.identity for account in accounts}
    for name in ("expired", "refused", "captcha"):
        assert set(hit[name]) <= {identities[account] for account in stopped}
