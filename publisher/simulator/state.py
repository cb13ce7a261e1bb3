"""The shared ground of the three platforms: accounts, posts, pictures, the clock."""

import asyncio
import hashlib
import heapq
import json
import time
from bisect import insort
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from .faults import Fault, FaultRules
from .log import AppendOnlyFiles, EventLog, to_json
from .request import ApiRequest
from .text_changes import FIELDS_BESIDE_TEXT, REORDERINGS, rewrite

PostState = Literal["review", "live", "refused", "removed"]


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


@dataclass
class Behaviour:
    """What the platforms leave open, one switch each; `POST /_sim/settings` turns them."""

    open: bool = True
    weibo_rip: Literal["lax", "strict"] = "lax"
    weibo_hashtag: Literal["strip", "reject"] = "strip"
    weibo_duplicates: Literal["last", "window", "off"] = "last"
    weibo_duplicate_seconds: float = 600
    weibo_safe_domains: list[str] = field(default_factory=list)
    """Empty: every domain counts as bound."""
    weibo_timeline_cap: int = 5
    weibo_per_hour: int = 0
    """Publish calls per user and clock hour; 0 for no limit. The real figure is 30."""
    weibo_per_day: int = 0
    """All calls per user and day; 0 for no limit. The real figure is 100."""
    weibo_per_ip: int = 0
    """All calls from one address per clock hour; 0 for no limit. The real figure is 15,000."""
    weibo_grants: dict[str, list[str]] = field(default_factory=dict)
    """What an account may beyond `share`, by identity or "*": update, advanced, biz, long_text, article, media."""
    weibo_app: Literal["own", "reviewed", "test"] = "own"
    """How long new tokens live: five years, thirty days, or one day with the app's own account only."""
    weibo_redirects: dict[str, str] = field(default_factory=dict)
    """By app key: the page registered for the way back; an app without an entry may name any."""
    weibo_consent: Literal["page", "allow", "deny"] = "page"
    """Whether a person answers on the page, or the answer is given at once."""
    weibo_gap: float = 0
    """Seconds between two posts of an account, else 20016; 0 for no limit."""
    weibo_similarity: float = 0
    """From which likeness (up to 1) to the last text 20017 is answered; 0 for never."""
    weibo_duplicate_normalise: bool = False
    """Whether links, topic marks and white space are left aside when texts are compared."""
    weibo_words: dict[str, int] = field(default_factory=dict)
    """Words that are refused, each with its code: 20018, 20020, 20021, 21602."""
    weibo_long_limit: int = 2000
    weibo_listing_delay: float = 0
    """Seconds until a post can be seen."""
    weibo_short_links: bool = True
    weibo_error_code: Literal["number", "text"] = "number"
    wechat_consume: Literal["accept", "finish"] = "accept"
    """When a submitted draft leaves the draft box; the platform does not say."""
    wechat_review_seconds: float = 0.3
    wechat_title_limit: int = 64
    wechat_daily: dict[str, int] = field(default_factory=dict)
    """Calls per path and Beijing day, then 45009; empty for no limit."""
    wechat_quotas: Literal["off", "platform"] = "off"
    """Whether the platform's own figures hold for paths that `wechat_daily` does not name."""
    wechat_per_minute: dict[str, int] = field(default_factory=dict)
    """Calls per path and minute, then 45011; empty for no limit."""
    wechat_addresses: list[str] = field(default_factory=list)
    """Addresses that may ask for tokens, others get 40164; empty: all may."""
    wechat_kind: Literal["service", "subscription"] = "service"
    wechat_verified: bool = True
    """Without it, publishing, mass sends and statistics are 48001."""
    wechat_comments: bool = True
    """Without it, an article open to comments is 88000."""
    wechat_words: dict[str, int] = field(default_factory=dict)
    """Words that are refused in drafts, each with its code: 87014, 200001."""
    wechat_followers: int = 1000
    wechat_mass_per_day: int = 0
    """Mass sends per Beijing day, of a service account to all followers only; 0 for no limit. The real figure is 1."""
    wechat_mass_per_month: int = 0
    """What a follower of a service account receives in a month; 0 for no limit. The real figure is 4."""
    wechat_mass_confirm: bool = False
    """Whether an administrator must confirm what goes to all followers, within half an hour."""
    wechat_repeats: Literal["refuse", "accept"] = "refuse"
    """Whether a draft that is submitted already, and a `clientmsgid` that is known, make another post."""
    wechat_mass_first: Literal["key", "draft"] = "key"
    """Which of `clientmsgid` and draft is looked at first; the platform does not say."""
    wechat_callback_seconds: float = 5
    """How long an answer to an event may take, before it is told again."""
    wechat_ids: Literal["own", "text", "numbers"] = "own"
    """Whether numbers of jobs come as they should, as text, or as numbers."""
    wechat_type: Literal["json", "text"] = "json"
    """What the header says; the body is JSON either way."""
    wechat_slashes: Literal["plain", "escaped"] = "plain"
    wechat_old_statistics: bool = True
    """Whether the statistics calls that the platform has given up still answer."""
    wechat_is_delay: bool = False
    """Whether statistics of yesterday are late."""
    tieba_deleted_code: int = 273
    tieba_sign: bool = True
    tieba_standing: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By account: block_stat (with `forum` for one forum only), hide_stat, vcode_stat, days_tofree, level."""
    tieba_forums: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name: closed, read_only, followers_only, levels (three at least), blacklist (accounts)."""
    tieba_closed_threads: list[str] = field(default_factory=list)
    tieba_words: list[str] = field(default_factory=list)
    """Words that are refused."""
    tieba_gap: float = 0
    """Seconds between two threads or floors of an account; 0 for no limit, as for the next three."""
    tieba_upload_gap: float = 0
    tieba_deletes_per_day: int = 0
    tieba_tbs_seconds: float = 0
    """After which a token is stale."""
    tieba_types: Literal["own", "text", "numbers"] = "own"
    """Whether JSON's numbers come as they should, all as text, or texts of digits as numbers."""
    tieba_ids_in: Literal["top", "data"] = "top"
    tieba_charset: Literal["utf-8", "gbk"] = "utf-8"
    """What the header says; the body is UTF-8 either way."""


class SimulatorState:
    """Everything the simulator knows; with a directory it knows it again after a restart."""

    STATE_FILE = "state.jsonl"

    def __init__(self, state_dir: Path | None = None) -> None:
        self.files = AppendOnlyFiles(state_dir)
        self.event_log = EventLog(self.files)
        self.fault_rules = FaultRules()
        self.review_listeners: list[Callable[[SimulatedPost], None]] = []
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
        self.posts_by_account: dict[tuple[str, str], list[SimulatedPost]] = defaultdict(list)
        self.tables: dict[str, dict[str, Any]] = defaultdict(dict)
        self.quota_usage: dict[tuple[str, str, str, str], int] = defaultdict(int)
        """Calls counted against quotas: platform, account, what, window."""
        self._media: dict[str, bytes] = {}
        self._scheduled: list[tuple[float, int, Callable[[], None]]] = []
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

    def schedule(self, when: float, action: Callable[[], None]) -> None:
        """Do it at that instant of the simulator's own clock, or as soon as that clock is moved past it."""
        heapq.heappush(self._scheduled, (when, next(self._sequence), action))
        self._set_timer()

    def run_due(self) -> None:
        """Do what is due."""
        if not self._scheduled:
            return
        while self._scheduled and self._scheduled[0][0] <= self.now():
            heapq.heappop(self._scheduled)[2]()
        if self._timer is None:
            self._set_timer()

    def shift_clock(self, seconds: float) -> None:
        """Shift the simulator's own clock, and do what has become due."""
        self.clock_shift += seconds
        self.run_due()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._scheduled:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # loaded before the loop runs; its start ticks, and so does each call
            return
        self._timer = loop.call_later(max(self._scheduled[0][0] - self.now(), 0) + 0.001, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.run_due()

    # --- accounts ---

    def get_identity(self, platform: str, credential: str) -> str:
        """Whose credential it is; in open mode an unknown one names an account itself."""
        known = self.credentials.get((platform, credential))
        if known is None:
            return credential if self.behaviour.open else ""
        return known

    def ensure_account(self, platform: str, identity: str) -> SimulatedAccount:
        found = self.accounts.get((platform, identity))
        if found is None:
            found = SimulatedAccount(platform, identity)
            self.save_account(found)
        return found

    def save_account(self, account: SimulatedAccount) -> None:
        self.accounts[account.platform, account.identity] = account
        self._index_credentials(account)
        self._persist("accounts", f"{account.platform}/{account.identity}", asdict(account))

    def _index_credentials(self, account: SimulatedAccount) -> None:
        for name in ("access_token", "BDUSS"):
            if name in account.secret:
                self.credentials[account.platform, account.secret[name]] = account.identity

    # --- posts ---

    def create_post(self, request: ApiRequest | None, post: SimulatedPost) -> SimulatedPost:
        """Put a post into the world, by the faults of its call; exactly one `act` names it."""
        if request:
            self._apply_post_faults(request, post)
            request.post_id = post.id
        self.posts[post.id] = post
        insort(self.posts_by_account[post.platform, post.account], post, key=lambda each: each.created)
        self.save_post(post)
        self.record_event("act", post, request)
        self._schedule_listing(post)
        self._schedule_review_end(post)
        return post

    def _apply_post_faults(self, request: ApiRequest, post: SimulatedPost) -> None:
        for fault in request.faults:
            if fault["kind"] == "rewrite":
                post.text, post.title, post.html = (rewrite(fault, each) for each in (post.text, post.title, post.html))
                post.extra = {**post.extra, "rewritten": True}
            elif fault["kind"] == "list_late":
                post.listed_from = post.created + float(fault.get("seconds", 60))
            elif fault["kind"] == "review":
                verdict = fault.get("verdict", "pass")
                due = None if verdict == "hold" else post.created + float(fault.get("seconds", 60))
                post.state, post.review = "review", {"due": due, "verdict": verdict, "status": fault.get("status")}

    def _schedule_listing(self, post: SimulatedPost) -> None:
        if post.state != "live" or post.extra.get("hidden"):
            return
        if post.listed_from <= self.now():
            self.record_event("visible", post)
        else:
            self.schedule(post.listed_from, lambda: self._record_visible(post))

    def _record_visible(self, post: SimulatedPost) -> None:
        if post.state == "live" and self.posts.get(post.id) is post:
            self.record_event("visible", post)

    def _schedule_review_end(self, post: SimulatedPost) -> None:
        due = post.review.get("due")
        if post.state == "review" and due is not None:
            self.schedule(due, lambda: self._end_review_if_due(post, due))

    def _end_review_if_due(self, post: SimulatedPost, due: float) -> None:
        if self.posts.get(post.id) is post and post.review.get("due") == due:
            self.decide_review(post, post.review["verdict"])

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
        for listener in self.review_listeners:
            listener(post)

    def remove_post(self, post: SimulatedPost, by: str, request: ApiRequest | None = None) -> None:
        post.state, post.removed_by = "removed", by
        self.save_post(post)
        self.record_event("removed", post, request)

    def get_posts(self, platform: str, account: str) -> list[SimulatedPost]:
        """Posts of an account, oldest first."""
        return self.posts_by_account.get((platform, account), [])

    def is_listed(self, post: SimulatedPost) -> bool:
        return post.state == "live" and post.listed_from <= self.now() and not post.extra.get("hidden")

    def apply_list_faults(self, request: ApiRequest, posts: Iterable[SimulatedPost]) -> list[SimulatedPost]:
        """What a list call may show of these posts, by the faults of that call."""
        late = request.get_fault("list_late")
        newest = self.now() - float(late.get("seconds", 60)) if late else self.now() + 1e9
        shown = [post for post in posts if post.listed_from <= self.now() and post.created <= newest]
        if request.get_fault("empty_list"):
            return []
        if order := request.get_fault("reorder"):
            shown = REORDERINGS[str(order.get("how", "reverse"))](shown)
        if change := request.get_fault("rewrite"):
            shown = [_rewrite_post(post, change) for post in shown]
        return shown

    def apply_read_faults(self, request: ApiRequest, post: SimulatedPost) -> SimulatedPost:
        """Return a post as a read shows it: by a fault, one that is live is said to have been taken down."""
        is_live = post.state == "live" and request.get_fault("gone")
        return replace(post, state="removed", removed_by="platform") if is_live else post

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

    # --- the record ---

    def record_event(
        self, kind: str, post: SimulatedPost | None = None, request: ApiRequest | None = None, status: int | None = None
    ) -> int:
        facts: dict[str, Any] = {
            "t": round(self.now(), 6),
            "platform": request.platform if request else post and post.platform,
            "account": (request.account if request else post and post.account) or (post and post.account),
            "endpoint": request.endpoint if request else None,
            "post_id": post.id if post else (request.post_id if request and kind == "reply" else None),
            "body_sha256": request.body_sha256 if request else None,
            "status": status,
            "fault": request.fault_names if request else None,
        }
        if request and kind == "recv":
            facts["began"] = round(request.received_at, 6)
        if request and request.event_number:
            facts["call"] = request.event_number
        if post and "thread" in post.extra:  # a floor, which is no second post
            facts["thread"] = post.extra["thread"]
        return self.event_log.add(kind, facts)

    def save_post(self, post: SimulatedPost) -> None:
        self._persist("posts", post.id, vars(post))

    def put_row(self, table: str, key: str, value: dict[str, Any] | None) -> None:
        """Keep a platform's own thing under a key; None forgets it."""
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
            if (
                post.id not in recorded_ids
            ):  # killed between the two files: the post stands, so its creation is on record
                self.record_event("act", post)
            self.posts_by_account[post.platform, post.account].append(post)
            self._schedule_review_end(post)
            if post.listed_from > self.now():
                self._schedule_listing(post)


def _rewrite_post(post: SimulatedPost, change: Fault) -> SimulatedPost:
    """Return a post as a list shows it; an excerpt is all that is left of it."""
    extra, is_excerpt = dict(post.extra), change.get("how") == "excerpt"
    if is_excerpt:
        extra = {name: value for name, value in extra.items() if name not in FIELDS_BESIDE_TEXT}
    if articles := extra.get("articles"):
        link = {"content_source_url": ""} if is_excerpt else {}
        extra["articles"] = [
            {**each, **link, **{name: rewrite(change, str(each.get(name) or "")) for name in ("title", "digest")}}
            for each in articles
        ]
    text, title, html = (rewrite(change, each) for each in (post.text, post.title, post.html))
    return replace(post, text=text, title=title, html=html, extra=extra)
