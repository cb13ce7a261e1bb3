"""The day of 108 accounts: the posts of staff, and the acts of people and platforms.

The scenario ends with the state in the evening.
"""

import asyncio
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import tomlkit
from structlog.testing import capture_logs

from publisher.app.application import Application, open_application
from publisher.cli.workspace import (
    PLATFORMS,
    DemoAccount,
    DemoWorkspace,
    create_workspace,
    demo_files,
    new_workspace_files,
    read_regions,
)
from publisher.config import load_settings
from publisher.daemon import Daemon
from publisher.domain.delivery import Delivery, State
from publisher.domain.post import PostId
from publisher.engine.decisions import Resolution, named_person, resolve_delivery
from publisher.i18n import Messages
from publisher.store.queries.queries import Alert
from tests.e2e.fast_clock import Days, FastRuntime
from tests.e2e.faults import Troubles, arrange, deal, give_history, post_by_hand
from tests.simulator_process import run_simulator

ZONE = ZoneInfo("Asia/Shanghai")
REGIONS = 36
MORNING, END = 6.5, 32.5
"""Hours in Beijing time, counted on past midnight."""
POST = """
[[post]]
id = "{id}"
kind = "{kind}"
template = "{kind}"
author = "zhang"
title = "{title}"
at = {at:%Y-%m-%dT%H:%M:%S}
expires = {expires:%Y-%m-%dT%H:%M:%S}
max_delay = "18h"
to = ["{to}"]
{extra}
body = "正规退款原路退回，不需要转账。自称客服要求转账退款的都是诈骗，请挂断并拨打报警电话。"
[post.data]
summary = "{title}，请转告家人"
"""
FIELDS = ("id", "kind", "title", "at", "expires", "to", "extra")
LEVEL, FOLLOWS = 'level = "orange"', 'follows = "refund"'
MORNING_POSTS = (
    ("refund", "warning", "警惕退款客服诈骗", 7.5, 13.5, "all", LEVEL),
    (
        "urgent",
        "warning",
        "紧急提醒假冒公检法来电",
        9,
        15,
        "all",
        f"{LEVEL}\nurgent = true",
    ),
    ("news", "update", "退款诈骗出现新话术", 11, 17, "all", f"{LEVEL}\n{FOLLOWS}"),
    ("talk", "bulletin", "社区反诈咨询活动", 13, 19, "north", ""),
)
NOON_POSTS = (
    ("wrong", "warning", "警惕假冒快递理赔诈骗", 15, 21, "north", LEVEL),
    ("loan", "warning", "警惕虚假网络贷款", 17, 32, "all", LEVEL),
    ("clear", "all-clear", "退款诈骗预警解除", 20, 30, "all", FOLLOWS),
)
TITLES = {post[0]: post[2] for post in (*MORNING_POSTS, *NOON_POSTS)}


@dataclass(slots=True)
class ScenarioDay:
    """The day, and the acts of people and platforms in it."""

    days: Days
    folder: Path
    midnight: datetime
    troubles: Troubles
    dice: Random

    @property
    def app(self) -> Application:
        return self.days.daemon.application

    async def until(self, hour: float) -> None:
        await self.days.live_until(self.midnight + timedelta(hours=hour))

    async def write(self, *posts: tuple) -> None:
        """Save a schedule as staff do, and let the daemon read it."""
        facts = [dict(zip(FIELDS, post, strict=True)) for post in posts]
        moments = [
            {
                key: self.midnight + timedelta(hours=item[key])
                for key in ("at", "expires")
            }
            for item in facts
        ]
        text = "".join(
            POST.format(**item | moment)
            for item, moment in zip(facts, moments, strict=True)
        )
        (self.folder / "schedule.toml").write_text(text, "utf-8")
        await self.days.daemon.read_schedule()

    async def pass_reviews(self) -> None:
        for account in self.troubles["review_passed_by_hand"]:
            answer = {"account": account.identity, "verdict": "pass"}
            await asyncio.to_thread(self.days.simulator.post, "/_sim/review", answer)

    async def resolve_holds(self, name: str, reason: str) -> None:
        """Follow the hold's advice.

        Resume the account, and resolve the held delivery with `resend`.
        """
        for account in self.troubles[name]:
            await self.app.store.actions.resume(
                f"account:{account.id}", named_person("王")
            )
            for row in await self.app.store.queries.deliveries(
                account=account.id, states=[State.HELD]
            ):
                await resolve_delivery(
                    self.app.store,
                    row,
                    Resolution.RESEND,
                    by=named_person("王"),
                    reason=reason,
                )

    async def delete_some(self) -> frozenset[int]:
        """Make each platform delete four published posts."""
        found = await asyncio.to_thread(self.days.simulator.get, "/_sim/posts")
        ids = {post["url"]: post["id"] for post in found}
        others = {account.id for account in self.troubles.others}
        published = await self.app.store.queries.deliveries(
            PostId("refund"), states=[State.PUBLISHED]
        )
        decks = [
            [row for row in published if row.platform == name and row.account in others]
            for name in PLATFORMS
        ]
        chosen = [row for deck in decks for row in self.dice.sample(deck, 4)]
        for row in chosen:
            await asyncio.to_thread(
                self.days.simulator.delete, f"/_sim/posts/{ids[row.receipt.url]}"
            )
        return frozenset(row.id for row in chosen)

    async def run(self) -> frozenset[int]:
        """Run the whole day. Return the deliveries that the platforms deleted."""
        await self.write(*MORNING_POSTS)
        await self.until(8.5)
        await self.pass_reviews()
        await self.until(9.75)
        await self.resolve_holds("signs_in_again", "已重新授权")
        await self.resolve_holds("captcha_solved", "已完成验证")
        # it expires before the longest review ends
        await self.resolve_holds("server_fails", "已登录查看，没有发出")
        await self.until(10.5)
        removed = await self.delete_some()
        await self.until(12)
        await self.write(*MORNING_POSTS, *NOON_POSTS)
        await self.until(14)
        for account in (*self.troubles["shared"], *self.troubles["exclusive"]):
            await asyncio.to_thread(
                post_by_hand, self.days.simulator, account, "民警今天走进社区"
            )
        await self.until(16)
        await self.app.store.actions.retract(
            PostId("wrong"), None, named_person("王"), "内容有误"
        )
        await self.until(END)
        return removed


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """The state at the end of the day."""

    troubles: Troubles
    rows: Sequence[Delivery]
    alerts: Sequence[Alert]
    posts: Sequence[Mapping]
    log: Sequence[Mapping]
    removed: frozenset[int]
    identities: Mapping[str, str]
    complaints: Sequence[Mapping]

    def outcomes(self, accounts: Sequence[DemoAccount], post: str) -> set[str]:
        """Return the states and reasons of a post on the given accounts."""
        ids = {account.id for account in accounts}
        rows = [row for row in self.rows if row.account in ids and row.key.post == post]
        return {f"{row.state} {row.reason or ''}".strip() for row in rows}

    @property
    def made(self) -> Sequence[tuple[str, str]]:
        """Return identity and post of everything that publisher has created."""
        ours = [post for post in self.posts if not post["extra"].get("by_hand")]
        return [(post["account"], post_in(post)) for post in ours]

    @property
    def visible(self) -> set[tuple[str, str]]:
        """Return identity and post of everything that is visible."""
        return {
            (post["account"], post_in(post))
            for post in self.posts
            if post["visible"] and post_in(post)
        }


def post_in(post: Mapping) -> str:
    """Return the schedule entry behind a post on a platform; empty for a post by hand."""
    words = (
        post["title"] or post["text"]
    )  # a follow-up quotes its original's title further down
    found = {
        name: words.index(title) for name, title in TITLES.items() if title in words
    }
    return min(found, key=found.get, default="")


def create_day_workspace(
    folder: Path, drill: DemoWorkspace, troubles: Troubles
) -> None:
    """Create a drill workspace with the platforms' own limits and waiting times."""
    files = {**new_workspace_files(), **demo_files(drill)}
    settings = tomllib.loads(files["publisher.toml"].decode())
    del settings["limits"]
    mass = {account.id for account in (*troubles["mass"], *troubles["mass_lost"])}
    alone = {account.id for account in troubles["exclusive"]}
    for entry in settings["account"]:
        entry.update({"profile": "mass"} if entry["id"] in mass else {})
        entry.update({"exclusive": True} if entry["id"] in alone else {})
    create_workspace(
        folder,
        files
        | {"publisher.toml": tomlkit.dumps(settings).encode(), "schedule.toml": b""},
    )


async def run_day(folder: Path, seed: int) -> DayResult:
    """Run the day in a workspace, and collect the state at its end."""
    dice, runtime = Random(seed), FastRuntime()  # noqa: S311 # repeatable on purpose
    with run_simulator() as simulator:
        drill = DemoWorkspace(
            regions=read_regions()[:REGIONS], simulator_url=simulator.url
        )
        troubles = deal(drill.accounts, dice)
        create_day_workspace(folder, drill, troubles)
        give_history(simulator, drill.accounts)
        midnight = datetime.combine(
            runtime.now().astimezone(ZONE).date() + timedelta(days=1), time(), ZONE
        )
        runtime.shift = midnight + timedelta(hours=MORNING) - runtime.now()
        simulator.post("/_sim/clock", {"shift": runtime.shift.total_seconds()})
        runtime.confirm_clock(runtime.read_clocks())
        arrange(simulator, troubles)
        settings = await load_settings(folder)
        async with open_application(settings, runtime, can_send=True) as app:
            daemon = Daemon(
                app, folder / "schedule.toml", Messages(settings.lang), runtime.now()
            )
            day = ScenarioDay(
                Days(daemon, runtime, simulator), folder, midnight, troubles, dice
            )
            with capture_logs() as entries:
                removed = await day.run()
            return DayResult(
                troubles=troubles,
                rows=await app.store.queries.deliveries(),
                alerts=await app.store.queries.alerts(),
                posts=simulator.get("/_sim/posts"),
                log=simulator.get("/_sim/log"),
                removed=removed,
                identities={account.id: account.identity for account in drill.accounts},
                complaints=[entry for entry in entries if entry["log_level"] != "info"],
            )
