"""The simulated platforms in made-up time, and the mischief that befalls calls to them, all from dice."""

from asyncio import TimerHandle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from publisher.simulator.app import PLATFORMS, Simulator
from publisher.simulator.faults import REWRITES, Fault
from publisher.simulator.state import SimulatorState
from tests.simulation.loop import VirtualLoop, context_of

EPOCH = 1795568400.0
"""2026-11-25 01:00 UTC: the instant at which every run begins."""
CREATING = frozenset({
    "/2/statuses/share.json",
    "/cgi-bin/freepublish/submit",
    "/cgi-bin/message/mass/sendall",
    "/c/c/thread/add_pc",
})  # fmt: skip
LISTING = frozenset({
    "/2/statuses/user_timeline.json",
    "/cgi-bin/freepublish/batchget",
    "/cgi-bin/freepublish/get",
    "/cgi-bin/message/mass/get",
    "/c/u/feed/myThread",
    "/c/f/pb/page_pc",
    "/2/statuses/show.json",
})  # fmt: skip
LATE, LAG = 25.0, 20.0
"""Seconds by which a platform acts late, and by which its lists lag, at most; together less than the settle time."""
BUSY = {"weibo": "20014", "wechat": "-1", "tieba": "110001"}

Weighted = Sequence[tuple[float, str]]
_CREATE: Weighted = (
    (6, "drop_after"),
    (6, "drop_before"),
    (5, "act_late"),
    (4, "delay"),
    (3, "late_response"),
    (2, "truncate"),
    (2, "html"),
    (2, "bad_json"),
    (2, "no_id"),
    (3, "status"),
    (3, "rate"),
    (2, "api_error"),
    (1, "wrong_account"),
    (1, "captcha"),
    (2, "expire_token"),
    (1, "duplicate"),
    (4, "list_late"),
    (1, "rewrite"),
    (3, "review"),
)
_READ: Weighted = (
    (4, "drop_before"),
    (2, "late_response"),
    (2, "truncate"),
    (1, "html"),
    (1, "bad_json"),
    (3, "status"),
    (3, "empty_list"),
    (2, "reorder"),
    (4, "list_late"),
    (1, "expire_token"),
    (1, "wrong_account"),
    (1, "no_id"),
)
_OTHER: Weighted = (
    (4, "drop_before"),
    (4, "drop_after"),
    (2, "late_response"),
    (2, "status"),
    (1, "truncate"),
    (1, "html"),
    (1, "expire_token"),
)


class TimedWorld(SimulatorState):
    """The simulator's world under the loop's clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        super().__init__()

    def now(self) -> float:
        return EPOCH + self.loop.time() + self.clock_shift

    def start_timer(self, seconds: float, action: Callable[[], None]) -> TimerHandle:
        """Start a timer that belongs to no process, so that it outlives the one whose call needs it."""
        return self.loop.call_later(seconds, action, context=context_of(None))


@dataclass(slots=True)
class Mischief:
    """What goes wrong with a call, in place of the simulator's own rules: drawn from dice until the storm is over.

    `chance` is by what share of the creating calls, the reads and the others. `once` holds faults for the next creating
    calls, whatever the dice say, `own` the same for an account; `lists` befall every list.
    """

    dice: Random
    create: float = 0.0
    read: float = 0.0
    other: float = 0.0
    once: list[Fault] = field(default_factory=list)
    own: dict[str, list[Fault]] = field(default_factory=dict)
    lists: list[Fault] = field(default_factory=list)

    def collect_faults(self, platform: str, account: str, endpoint: str) -> tuple[Fault, ...]:
        always = tuple(self.lists) if endpoint in LISTING else ()
        return (*always, *self._striking(platform, account, endpoint))

    def _striking(self, platform: str, account: str, endpoint: str) -> tuple[Fault, ...]:
        if endpoint in CREATING:
            if own := self.own.get(account):
                return (own.pop(0),)
            if self.once:
                return (self.once.pop(0),)
            chance, weighted = self.create, _CREATE
        elif endpoint in LISTING:
            chance, weighted = self.read, _READ
        else:
            chance, weighted = self.other, _OTHER
        if self.dice.random() >= chance:
            return ()
        return tuple(self.fault(self._draw(weighted), platform) for _ in range(1 + (self.dice.random() < 0.15)))

    def clear(self) -> None:
        self.create = self.read = self.other = 0.0
        for held in (self.once, self.own, self.lists):
            held.clear()

    def _draw(self, weighted: Weighted) -> str:
        return self.dice.choices([kind for _, kind in weighted], [weight for weight, _ in weighted])[0]

    def fault(self, kind: str, platform: str) -> Fault:
        """Give a fault of a kind with whatever it needs."""
        dice = self.dice
        kinds: Mapping[str, Fault] = {
            "act_late": {"kind": "act_late", "seconds": dice.uniform(0.5, LATE)},
            "delay": {"kind": "delay", "seconds": dice.uniform(0.5, LATE), "when": "before"},
            "late_response": {"kind": "delay", "seconds": dice.uniform(0.5, LATE)},
            "status": {"kind": "status", "code": dice.choice([500, 502, 503, 504]), "acts": dice.random() < 0.5},
            "rate": {"kind": "status", "code": 429, "headers": {"Retry-After": dice.choice(["7", "30", "soon"])}},
            "api_error": {"kind": "api_error", "code": BUSY[platform]},
            "list_late": {"kind": "list_late", "seconds": dice.uniform(1, LAG)},
            "rewrite": {"kind": "rewrite", "how": dice.choice(sorted(REWRITES))},
            "review": {
                "kind": "review",
                "seconds": dice.uniform(1, LATE),
                "verdict": dice.choice(["pass", "pass", "refuse"]),
            },
        }
        return kinds.get(kind, {"kind": kind})


@dataclass(eq=False, slots=True)
class Platforms:
    """All platforms, what befalls them, and what people do there."""

    world: TimedWorld
    mischief: Mischief
    application: Simulator

    def posts(self) -> list[dict[str, Any]]:
        """Return the posts as the simulator's control endpoint shows them."""

        async def fetch() -> list[dict[str, Any]]:
            transport = httpx.ASGITransport(self.application)
            async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
                found: list[dict[str, Any]] = (await client.get("/_sim/posts?floors=1")).json()
                return found

        return self.world.loop.run_until_complete(self.world.loop.live(None, fetch()))

    def post_by_hand(self, platform: str, identity: str, title: str, text: str) -> str:
        """Let somebody post without us."""
        self.world.ensure_account(platform, identity)
        wanted = {"platform": platform, "account": identity, "title": title, "text": text, "forum": "演练"}
        return self.world.create_post(None, PLATFORMS[platform].make_external_post(self.world, wanted)).id

    def furnish(self, platform: str, identity: str) -> None:
        """Give an account an old post, as an empty list never proves absence."""
        self.world.clock_shift = -7200.0
        self.post_by_hand(platform, identity, "欢迎关注本账号", "本账号由公安机关运营")
        self.world.clock_shift = 0.0


def open_platforms(loop: VirtualLoop, dice: Random) -> Platforms:
    """Give an empty world of all platforms. Their own guard against repetition is off: it must not be needed."""
    world = TimedWorld(loop)
    mischief = Mischief(dice)
    world.fault_rules = mischief  # type: ignore[assignment] # it has the face of the rules that calls meet
    world.behaviour.weibo_duplicates = "off"
    return Platforms(world, mischief, Simulator(world))
