"""The state that the three platforms share: accounts, posts, pictures, the clock."""

import asyncio
import hashlib
import heapq
import json
import math
import time
import zlib
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from .faults import FIELDS_BESIDE_TEXT, REORDERINGS, Fault, FaultRules, rewrite
from .log import AppendOnlyFiles, EventLog, to_json
from .request import ApiRequest

PostState = Literal["review", "live", "refused", "removed"]
HALF_REACH_SECONDS = 6 * 3600.0
"""Time constant of reach: 63 % of a post's readers have seen it by then. It is our choice."""


@dataclass
class SimulatedAccount:
    platform: str
    identity: str
    name: str = ""
    forums: list[str] = field(default_factory=list)
    secret: dict[str, str] = field(default_factory=dict)

    @property
    def display_name(self) -> str:
        return self.name or self.identity


@dataclass
class SimulatedPost:
    id: str
    platform: str
    account: str
    created: float
    text: str = ""
    title: str = ""
    html: str = ""
    images: list[str] = field(default_factory=list)
    state: PostState = "live"
    listed_from: float = 0
    review: dict[str, Any] = field(default_factory=dict)
    """While in review: `due` (None for never) and `verdict`."""
    removed_by: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMetrics:
    reads: int
    reposts: int
    comments: int
    likes: int


def compute_metrics(post: SimulatedPost, now: float) -> SimulatedMetrics:
    """Compute metrics that never fall.

    The id determines the final figures, the age the share reached so far.
    """
    age = max(now - post.created, 0.0)
    share = 1 - math.exp(-age / HALF_REACH_SECONDS)
    likes = zlib.crc32(post.id.encode()) % 900 + 100
    return SimulatedMetrics(
        reads=int(likes * 90 * share),
        reposts=int(likes * 0.4 * share),
        comments=int(likes * 0.15 * share),
        likes=int(likes * share),
    )


@dataclass
class Behaviour:
    """Settings for behaviour that the platforms leave open, changed by `POST /_sim/settings`."""

    open: bool = True
    weibo_rip: Literal["lax", "strict"] = "lax"
    weibo_duplicates: Literal["last", "off"] = "last"
    """Whether the text of an account's last post is refused for ten minutes."""
    weibo_safe_domains: list[str] = field(default_factory=list)
    """Empty: every domain counts as bound."""
    weibo_timeline_cap: int = 5
    weibo_per_hour: int = 0
    """Publish calls per user and clock hour; 0 for no limit. The real limit is 30."""
    weibo_per_day: int = 0
    """All calls per user and day; 0 for no limit. The real limit is 100."""
    weibo_per_ip: int = 0
    """All calls from one IP address per clock hour; 0 for no limit. The real limit is 15,000."""
    weibo_grants: dict[str, list[str]] = field(default_factory=dict)
    """Grants of an account beyond `share`, by identity or "*": update, biz, long_text, article."""
    weibo_app: Literal["own", "reviewed"] = "own"
    """The lifetime of new tokens: five years or thirty days."""
    weibo_redirects: dict[str, str] = field(default_factory=dict)
    """By app key: the registered redirect page; an app without an entry may name any page."""
    weibo_consent: Literal["page", "allow"] = "page"
    """Whether a person decides on the page, or consent is given at once."""
    wechat_consume: Literal["accept", "finish"] = "accept"
    """When a submitted draft leaves the draft box; the platform does not state it."""
    wechat_review_seconds: float = 0.3
    wechat_quotas: Literal["off", "platform"] = "off"
    """Whether the platform's own limits per path and Beijing day apply."""
    wechat_addresses: list[str] = field(default_factory=list)
    """IP addresses that may request tokens, others get 40164; empty for all."""
    wechat_kind: Literal["service", "subscription"] = "service"
    wechat_verified: bool = True
    """If false, publishing, mass sends and statistics are refused with 48001."""
    wechat_mass_per_day: int = 0
    """Mass sends per Beijing day, of a service account to all followers only; 0 for no limit.

    The real limit is 1.
    """
    wechat_mass_per_month: int = 0
    """Mass sends to one follower of a service account per month; 0 for no limit.

    The real limit is 4.
    """
    wechat_repeats: Literal["refuse", "accept"] = "refuse"
    """Whether a submitted draft and a known `clientmsgid` are refused, or create another post."""
    tieba_standing: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Standing by account: block_stat, hide_stat, vcode_stat, days_tofree and level.

    A block_stat with `forum` is for one forum only.
    """
    tieba_forums: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: closed, read_only, followers_only, levels (three at least), blacklist (accounts)."""
    tieba_words: list[str] = field(default_factory=list)
    """Forbidden words."""
    tieba_gap: float = 0
    """Seconds between two threads or replies of an account; 0 for no limit."""
    tieba_authors: Literal["listed", "inline", "numbers"] = "listed"
    """Where the PC site names authors: beside the posts, in each post, or in lists by number.

    Lists by number name them by number alone.
    """
    tieba_session: Literal["named", "flag"] = "named"
    """Whether the PC site's sync names the session's user.

    Otherwise it says only that somebody is signed in.
    """
    tieba_types: Literal["own", "text", "numbers"] = "own"
    """Whether JSON numbers come as usual, all as text, or texts of digits as numbers."""
    tieba_ids_in: Literal["top", "data"] = "top"
    tieba_charset: Literal["utf-8", "gbk"] = "utf-8"
    """The charset in the header; the body is UTF-8 either way."""


class SimulatorState:
    """All state of the simulator; with a directory it survives a restart."""

    STATE_FILE = "state.jsonl"

    def __init__(
        self,
        state_dir: Path | None = None,
        account_names: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self.account_names = account_names or {}
        self.files = AppendOnlyFiles(state_dir)
        self.event_log = EventLog(self.files)
        self.fault_rules = FaultRules()
        self.on_review_end: Callable[[SimulatedPost], None] = lambda _post: None
        self._numbers: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._media_dir = state_dir / "media" if state_dir else None
        if self._media_dir:
            self._media_dir.mkdir(exist_ok=True)
        self._set_empty()
        self._load()

    def _set_empty(self) -> None:
        self.behaviour = Behaviour()
        self.clock_shift = 0.0
        self.accounts: dict[tuple[str, str], SimulatedAccount] = {}
        self.credentials: dict[tuple[str, str], str] = {}
        self.posts: dict[str, SimulatedPost] = {}
        self.posts_by_account: dict[tuple[str, str], list[SimulatedPost]] = defaultdict(
            list
        )
        self.tables: dict[str, dict[str, Any]] = defaultdict(dict)
        self.quota_usage: dict[tuple[str, str, str, str], int] = defaultdict(int)
        """Calls counted against quotas, by platform, account, resource, window."""
        self._media: dict[str, bytes] = {}
        self._scheduled: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = count()
        self._timer: asyncio.TimerHandle | None = None

    def reset(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._set_empty()
        self.fault_rules.clear()
        self.event_log.clear()
        self.files.clear()

    # --- the clock ---

    def now(self) -> float:
        return time.time() + self.clock_shift

    def schedule(self, when: float, action: Callable[[], object]) -> None:
        """Run the action at that time of the simulator's clock.

        Run it as soon as the clock is shifted past that time.
        """
        heapq.heappush(self._scheduled, (when, next(self._sequence), action))
        self._set_timer()

    def run_due(self) -> None:
        if not self._scheduled:
            return
        while self._scheduled and self._scheduled[0][0] <= self.now():
            heapq.heappop(self._scheduled)[2]()
        if self._timer is None:
            self._set_timer()

    def shift_clock(self, seconds: float) -> None:
        """Shift the simulator's own clock, and run the actions that have become due."""
        self.clock_shift += seconds
        self.run_due()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._scheduled:
            wait = max(self._scheduled[0][0] - self.now(), 0) + 0.001
            self._timer = self.start_timer(wait, self._on_timer)

    def start_timer(
        self, seconds: float, action: Callable[[], None]
    ) -> asyncio.TimerHandle | None:
        """Call an action later, or return None before the event loop starts.

        The loop's start and each call run the due actions.
        """
        try:
            return asyncio.get_running_loop().call_later(seconds, action)
        except RuntimeError:
            return None

    def _on_timer(self) -> None:
        self._timer = None
        self.run_due()

    def start_task(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside the calls."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- accounts ---

    def get_identity(self, platform: str, credential: str) -> str:
        """Return the account of a credential.

        In open mode an unknown credential is its own account.
        """
        known = self.credentials.get((platform, credential))
        if known is None:
            return credential if self.behaviour.open else ""
        return known

    def ensure_account(self, platform: str, identity: str) -> SimulatedAccount:
        found = self.accounts.get((platform, identity))
        if found is None:
            found = SimulatedAccount(
                platform, identity, self.account_names.get((platform, identity), "")
            )
            self.save_account(found)
        return found

    def save_account(self, account: SimulatedAccount) -> None:
        self.accounts[account.platform, account.identity] = account
        self._index_credentials(account)
        self._persist(
            "accounts", f"{account.platform}/{account.identity}", asdict(account)
        )

    def _index_credentials(self, account: SimulatedAccount) -> None:
        for name in ("access_token", "BDUSS"):
            if name in account.secret:
                self.credentials[account.platform, account.secret[name]] = (
                    account.identity
                )

    # --- posts ---

    def create_post(
        self, request: ApiRequest | None, post: SimulatedPost
    ) -> SimulatedPost:
        """Add a post, changed by the faults of its call; the log gets exactly one `act` for it."""
        if request:
            request.post_id = post.id
        for fault in request.faults if request else ():
            if fault["kind"] == "rewrite":
                post.text, post.title, post.html = (
                    rewrite(fault, each) for each in (post.text, post.title, post.html)
                )
                post.extra = {**post.extra, "rewritten": True}
            elif fault["kind"] == "list_late":
                post.listed_from = post.created + float(fault.get("seconds", 60))
            elif fault["kind"] == "review":
                verdict = fault.get("verdict", "pass")
                due = (
                    None
                    if verdict == "hold"
                    else post.created + float(fault.get("seconds", 60))
                )
                post.state, post.review = (
                    "review",
                    {"due": due, "verdict": verdict, "status": fault.get("status")},
                )
        self.posts[post.id] = post
        insort(
            self.posts_by_account[post.platform, post.account],
            post,
            key=lambda each: each.created,
        )
        self.save_post(post)
        self.record_event("act", post, request)
        self._schedule_listing(post)
        self._schedule_review_end(post)
        return post

    def _schedule_listing(self, post: SimulatedPost) -> None:
        def record_visible() -> None:
            if post.state == "live" and self.posts.get(post.id) is post:
                self.record_event("visible", post)

        if post.state != "live" or post.extra.get("hidden"):
            return
        if post.listed_from <= self.now():
            self.record_event("visible", post)
        else:
            self.schedule(post.listed_from, record_visible)

    def _schedule_review_end(self, post: SimulatedPost) -> None:
        due = post.review.get("due")

        def end_review() -> None:
            if self.posts.get(post.id) is post and post.review.get("due") == due:
                self.decide_review(post, post.review["verdict"])

        if post.state == "review" and due is not None:
            self.schedule(due, end_review)

    def decide_review(self, post: SimulatedPost, verdict: str) -> None:
        """End a review, or hold it."""
        if post.state != "review":
            return
        if verdict == "hold":
            post.review = {**post.review, "due": None, "verdict": "hold"}
            self.save_post(post)
            return
        post.state = "live" if verdict == "pass" else "refused"
        post.review = {**post.review, "due": None, "verdict": verdict}
        self.save_post(post)
        if post.state == "refused":
            self.record_event("removed", post)
        self._schedule_listing(post)
        self.on_review_end(post)

    def remove_post(
        self, post: SimulatedPost, by: str, request: ApiRequest | None = None
    ) -> None:
        post.state, post.removed_by = "removed", by
        self.save_post(post)
        self.record_event("removed", post, request)

    def take_number(self, series: str, first: int) -> int:
        """Return the next number of a series that begins at `first` and skips the ids of posts."""
        number = self._numbers.get(series, first)
        while str(number) in self.posts:
            number += 1
        self._numbers[series] = number + 1
        return number

    def get_posts(self, platform: str, account: str) -> list[SimulatedPost]:
        """Return the posts of an account, oldest first."""
        return self.posts_by_account.get((platform, account), [])

    def is_listed(self, post: SimulatedPost) -> bool:
        return (
            post.state == "live"
            and post.listed_from <= self.now()
            and not post.extra.get("hidden")
        )

    def hide_late_posts(
        self, request: ApiRequest, posts: Iterable[SimulatedPost]
    ) -> list[SimulatedPost]:
        """Return the posts that a list shows by now, as the platform counts them."""
        late = request.get_fault("list_late")
        newest = (
            self.now() - float(late.get("seconds", 60)) if late else self.now() + 1e9
        )
        return [
            post
            for post in posts
            if post.listed_from <= self.now() and post.created <= newest
        ]

    def apply_list_faults(
        self, request: ApiRequest, posts: Iterable[SimulatedPost]
    ) -> list[SimulatedPost]:
        """Return the listed ones of these posts, changed by the faults of the list call."""
        shown = self.hide_late_posts(request, posts)
        if request.get_fault("empty_list"):
            return []
        if order := request.get_fault("reorder"):
            shown = REORDERINGS[str(order.get("how", "reverse"))](shown)
        if change := request.get_fault("rewrite"):
            shown = [_rewrite_post(post, change) for post in shown]
        return shown

    def apply_read_faults(
        self, request: ApiRequest, post: SimulatedPost
    ) -> SimulatedPost:
        """Return a post as a read shows it: the fault `gone` reports a live post as removed."""
        is_live = post.state == "live" and request.get_fault("gone")
        return (
            replace(post, state="removed", removed_by="platform") if is_live else post
        )

    # --- pictures ---

    def store_media(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        if self._media_dir is None:
            self._media[digest] = data
        elif not (path := self._media_dir / digest).exists():
            path.write_bytes(data)
        return digest

    def read_media(self, digest: str) -> bytes | None:
        if self._media_dir is None or not digest.isalnum():
            return self._media.get(digest)
        path = self._media_dir / digest
        return path.read_bytes() if path.exists() else None

    # --- the log and the state file ---

    def record_event(
        self,
        kind: str,
        post: SimulatedPost | None = None,
        request: ApiRequest | None = None,
        status: int | None = None,
    ) -> int:
        facts: dict[str, Any] = {
            "t": round(self.now(), 6),
            "platform": request.platform if request else post and post.platform,
            "account": (request.account if request else post and post.account)
            or (post and post.account),
            "endpoint": request.endpoint if request else None,
            "post_id": post.id
            if post
            else (request.post_id if request and kind == "reply" else None),
            "body_sha256": request.body_sha256 if request else None,
            "status": status,
            "fault": request.fault_names if request else None,
        }
        if request and kind == "recv":
            facts["began"] = round(request.received_at, 6)
        if request and request.event_number:
            facts["call"] = request.event_number
        if post and "thread" in post.extra:  # a reply, which is no second post
            facts["thread"] = post.extra["thread"]
        return self.event_log.add(kind, facts)

    def save_post(self, post: SimulatedPost) -> None:
        self._persist("posts", post.id, vars(post))

    def put_row(self, table: str, key: str, value: dict[str, Any] | None) -> None:
        """Keep a platform's own row under a key; None deletes it."""
        if value is None:
            self.tables[table].pop(key, None)
        else:
            self.tables[table][key] = value
        self._persist(table, key, value)

    def get_row(self, table: str, key: str) -> dict[str, Any] | None:
        return self.tables[table].get(key)

    def _persist(self, table: str, key: str, value: object) -> None:
        if self.files.directory is not None:
            self.files.append(self.STATE_FILE, to_json([table, key, value]))

    def _load(self) -> None:
        for line in self.files.read(self.STATE_FILE):
            table, key, value = json.loads(line)
            if table == "accounts":
                account = SimulatedAccount(**value)
                self.accounts[account.platform, account.identity] = account
                self._index_credentials(account)
            elif table == "posts":
                self.posts[key] = SimulatedPost(**value)
            elif value is None:
                self.tables[table].pop(key, None)
            else:
                self.tables[table][key] = value
        recorded_ids = self.event_log.get_created_post_ids()
        for post in sorted(self.posts.values(), key=lambda each: each.created):
            # killed between the two writes: log the creation of a post that exists
            if post.id not in recorded_ids:
                self.record_event("act", post)
            self.posts_by_account[post.platform, post.account].append(post)
            self._schedule_review_end(post)
            if post.listed_from > self.now():
                self._schedule_listing(post)


def _rewrite_post(post: SimulatedPost, change: Fault) -> SimulatedPost:
    """Return a post as a list shows it; an excerpt loses its links and notes as well."""
    extra, is_excerpt = dict(post.extra), change.get("how") == "excerpt"
    if is_excerpt:
        extra = {
            name: value
            for name, value in extra.items()
            if name not in FIELDS_BESIDE_TEXT
        }
    if articles := extra.get("articles"):
        link = {"content_source_url": ""} if is_excerpt else {}
        extra["articles"] = [
            {
                **each,
                **link,
                **{
                    name: rewrite(change, str(each.get(name) or ""))
                    for name in ("title", "digest")
                },
            }
            for each in articles
        ]
    text, title, html = (
        rewrite(change, each) for each in (post.text, post.title, post.html)
    )
    return replace(post, text=text, title=title, html=html, extra=extra)
