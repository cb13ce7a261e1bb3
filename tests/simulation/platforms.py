"""The simulated platforms in simulated time, and the random faults of calls to them."""

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
"""2026-11-25 01:00 UTC: the start of every run."""
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
"""Maximum delay in seconds of a platform's act, and of its lists.

Together they are less than the visibility window.
"""
LONG_REVIEW = 80.0
"""Seconds that a review may take where lists hide it.

With the platform's own delay, this is less than the longest review.
"""
BUSY = {"weibo": "20014", "wechat": "-1", "tieba": "110001"}
HALF_EMOJI = "\ud83d"
"""The end of a text that a platform cuts after so many UTF-16 units."""

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


class TimedState(SimulatorState):
    """The simulator's state under the loop's clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        super().__init__()

    def now(self) -> float:
        return EPOCH + self.loop.time() + self.clock_shift

    def start_timer(self, seconds: float, action: Callable[[], None]) -> TimerHandle:
        """Start a timer that belongs to no process.

        It outlives the process of the call that needs it.
        """
        return self.loop.call_later(seconds, action, context=context_of(None))


@dataclass(slots=True)
class RandomFaults:
    """The faults of calls, in place of the simulator's own rules.

    They are drawn at random until the storm is over. `chance` is the share of faulty calls: of the
    creating calls, the reads and the others. `once` holds faults for the next creating calls,
    before any random one. `own` holds the same for an account, one or several for a call. `lists`
    apply to every list, `always` to every call of an account.
    """

    rng: Random
    create: float = 0.0
    read: float = 0.0
    other: float = 0.0
    once: list[Fault] = field(default_factory=list)
    own: dict[str, list[Fault | tuple[Fault, ...]]] = field(default_factory=dict)
    lists: list[Fault] = field(default_factory=list)
    always: dict[str, list[Fault]] = field(default_factory=dict)

    def collect_faults(
        self, platform: str, account: str, endpoint: str
    ) -> tuple[Fault, ...]:
        always = tuple(self.lists) if endpoint in LISTING else ()
        return (
            *always,
            *self.always.get(account, ()),
            *self._striking(platform, account, endpoint),
        )

    def _striking(
        self, platform: str, account: str, endpoint: str
    ) -> tuple[Fault, ...]:
        if endpoint in CREATING:
            if own := self.own.get(account):
                striking = own.pop(0)
                return striking if isinstance(striking, tuple) else (striking,)
            if self.once:
                return (self.once.pop(0),)
            chance, weighted = self.create, _CREATE
        elif endpoint in LISTING:
            chance, weighted = self.read, _READ
        else:
            chance, weighted = self.other, _OTHER
        if self.rng.random() >= chance:
            return ()
        return tuple(
            self.fault(self._draw(weighted), platform)
            for _ in range(1 + (self.rng.random() < 0.15))
        )

    def clear(self) -> None:
        self.create = self.read = self.other = 0.0
        for held in (self.once, self.own, self.lists, self.always):
            held.clear()

    def _draw(self, weighted: Weighted) -> str:
        return self.rng.choices(
            [kind for _, kind in weighted], [weight for weight, _ in weighted]
        )[0]

    def fault(self, kind: str, platform: str) -> Fault:
        """Return a fault of a kind with its fields."""
        rng = self.rng
        kinds: Mapping[str, Fault] = {
            "act_late": {"kind": "act_late", "seconds": rng.uniform(0.5, LATE)},
            "delay": {
                "kind": "delay",
                "seconds": rng.uniform(0.5, LATE),
                "when": "before",
            },
            "late_response": {"kind": "delay", "seconds": rng.uniform(0.5, LATE)},
            "status": {
                "kind": "status",
                "code": rng.choice([500, 502, 503, 504]),
                "acts": rng.random() < 0.5,
            },
            "rate": {
                "kind": "status",
                "code": 429,
                "headers": {"Retry-After": rng.choice(["7", "30", "soon"])},
            },
            "api_error": {
                "kind": "api_error",
                "code": BUSY[platform],
                "message": f"busy{HALF_EMOJI}",
            },
            "list_late": {"kind": "list_late", "seconds": rng.uniform(1, LAG)},
            "rewrite": {"kind": "rewrite", "how": rng.choice(sorted(REWRITES))},
            "review": {
                "kind": "review",
                "seconds": rng.uniform(1, LONG_REVIEW if platform == "weibo" else LATE),
                "announce": platform == "weibo" and rng.random() < 0.5,
                "verdict": rng.choice(["pass", "pass", "refuse"]),
            },
        }
        return kinds.get(kind, {"kind": kind})


@dataclass(eq=False, slots=True)
class StormPlatforms:
    """All platforms, their faults, and people's actions there."""

    state: TimedState
    faults: RandomFaults
    application: Simulator

    def posts(self) -> list[dict[str, Any]]:
        """Return the posts as the simulator's control endpoint shows them."""

        async def fetch() -> list[dict[str, Any]]:
            transport = httpx.ASGITransport(self.application)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://simulator"
            ) as client:
                found: list[dict[str, Any]] = (
                    await client.get("/_sim/posts?floors=1")
                ).json()
                return found

        return self.state.loop.run_until_complete(self.state.loop.live(None, fetch()))

    def post_by_hand(self, platform: str, identity: str, title: str, text: str) -> str:
        """Post as a person does, and return the post's id."""
        self.state.ensure_account(platform, identity)
        wanted = {
            "platform": platform,
            "account": identity,
            "title": title,
            "text": text,
            "forum": "演练",
        }
        return self.state.create_post(
            None, PLATFORMS[platform].make_external_post(self.state, wanted)
        ).id

    def add_older_post(self, platform: str, identity: str) -> None:
        """Give an account an old post, as an empty list never proves absence."""
        self.state.clock_shift = -7200.0
        self.post_by_hand(platform, identity, "欢迎关注本账号", "本账号由公安机关运营")
        self.state.clock_shift = 0.0


def open_platforms(loop: VirtualLoop, rng: Random) -> StormPlatforms:
    """Return all platforms, empty. Their own check for duplicates is off: it must not be needed."""
    state = TimedState(loop)
    faults = RandomFaults(rng)
    state.fault_rules = faults  # type: ignore[assignment] # calls ask it for their faults
    state.behaviour.weibo_duplicates = "off"
    return StormPlatforms(state, faults, Simulator(state))
