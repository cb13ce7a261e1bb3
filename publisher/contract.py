"""The interface of adapters.

From publisher, an adapter imports this module and the domain, nothing else.
"""

import tomllib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, runtime_checkable

from publisher.domain.account import (
    Account,
    Capabilities,
    RateLimit,
    Timing,
    parse_retry_after,
)
from publisher.domain.errors import Problem
from publisher.domain.post import RenderedPost, SendRequest
from publisher.domain.results import (
    DeletionResult,
    HealthCheckResult,
    NotSent,
    ObservedPost,
    Outcome,
    PreviewResult,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Ticket,
    Unknown,
)

CONTRACT = 1
"""The version of this interface.

A factory states the version that it was written for; docs/adapters.md has the rules.
"""

T = TypeVar("T")
Pairs = tuple[tuple[str, str], ...]
"""Names and values of a query or a form, in order; a name may come more than once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One file part of a multipart form."""

    name: str
    filename: str
    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One HTTP request, as data.

    `query` and `form` are pairs, so that a name can be repeated: `(("ids[]", "1"), ("ids[]",
    "2"))`. `form` is sent urlencoded, or as multipart if there are `uploads`; `content` is a raw
    body instead of a form. Values may be secrets, so the repr omits them. `is_idempotent` is False
    for a request that creates something each time, such as a draft.
    """

    method: str
    url: str
    query: Pairs = field(default=(), repr=False)
    form: Pairs = field(default=(), repr=False)
    uploads: tuple[Upload, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_idempotent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One complete HTTP response: the whole body arrived, within the size limit.

    `headers` have lower-case names.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    _decoded: dict[object, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def decode_cached(
        self, decode: Callable[["HttpResponse", str], T], identity: str
    ) -> T:
        """Return `decode(self, identity)`, computed once.

        One list may resolve a hundred unknown outcomes.
        """
        if (decode, identity) not in self._decoded:
            self._decoded[decode, identity] = decode(self, identity)
        decoded: T = self._decoded[decode, identity]
        return decoded

    def retry_at(self, now: datetime) -> datetime | None:
        """Return the time of Retry-After, in seconds or as a date.

        Return None if it is absent, past or unreadable.
        """
        return parse_retry_after(self.headers.get("retry-after"), now)

    def to_rate_limited(self, code: str, now: datetime) -> RateLimited | None:
        """Return RateLimited with the adapter's code for a 429; None for any other response."""
        return (
            RateLimited(code=code, until=self.retry_at(now))
            if self.status == 429
            else None
        )


class Http(Protocol):
    """The only access to a platform, one per login.

    At most one call of a login is in flight at a time. Transport failures are values: NotSent only
    if the transport proves that no byte of the request was sent.
    """

    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        """Make a repeatable call: a read, a token, an upload, a draft.

        Equal requests of a login that wait together may share one response, to a call that began
        after all of them.
        """
        ...

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        """Make a call without credentials to the host of this address, for a response's Date.

        It is independent of the login: it ignores the login's cooldown, and no response to it
        starts one.
        """
        ...

    async def create(
        self, request: HttpRequest, send_request: SendRequest
    ) -> HttpResponse | NotSent | Unknown:
        """Make the one call of a committed attempt that may create a post. It is never repeated.

        Immediately before the first byte the core checks that the call may still begin, and records
        that it does. After a crash, an exception or a timeout, a call made in any other way, or
        still waiting in a task of the adapter's own, would count as never begun and would be made a
        second time.
        """
        ...


class TokenStore(Protocol):
    """The shared store of a login's short-lived tokens."""

    async def current(self) -> str | None:
        """Return the valid token, or None if there is none or it has expired."""
        ...

    async def renew(
        self, stale: str | None, fetch: Callable[[], Awaitable["Token | None"]]
    ) -> str | None:
        """Replace `stale` by the result of `fetch`, one caller at a time.

        Later callers get the token fetched first.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A short-lived token and its expiry."""

    value: str = field(repr=False)
    expires_at: datetime


class AdapterState(Protocol):
    """Key-value state of a login that survives restarts: uploads made, steps done."""

    async def get(self, key: str) -> str | None: ...
    async def set(self, key: str, value: str) -> None: ...
    async def update(self, key: str, change: Callable[[str | None], str]) -> str | None:
        """Replace a value by `change(old)` atomically; return the old value."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterContext:
    """The services of an adapter.

    `secret` reads the login's secret when called; `failpoint` is for crash tests.
    """

    http: Http
    secret: Callable[[], Mapping[str, str]]
    tokens: TokenStore
    state: AdapterState
    now: Callable[[], datetime]
    failpoint: Callable[[str], Awaitable[None]]


class Adapter(Protocol):
    """One account on one platform.

    An adapter reports events, and the core decides on the next step. Any read may return
    RateLimited if the platform wants no more calls of the login for now, and then makes no further
    call. The core stops every call of the login until the limit ends.

    Each method has `timing.lease_timeout` in all, 40 s by default, for everything it awaits; then
    it is cancelled. Each HTTP call in it has `timing.request_timeout`, 20 s by default, including
    the wait for the login's other calls.
    """

    async def publish(self, request: SendRequest) -> Outcome:
        """Make one attempt: repeatable calls first, then exactly one `http.create`.

        Return Unknown, never a guess. Content that the platform still prepares, such as an uploaded
        video, is `NotSent` with `until`. This is allowed before `http.create` only, and at no cost
        to the login's quota. If cancelled before `http.create`, it counts as `NotSent`, afterwards
        as `Unknown`.
        """
        ...

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Read the platform's progress on a submitted post, by the ticket this adapter made.

        A ticket with the plain remote id of a receipt as payload asks about a published post that a
        list no longer shows. The result is Published if anybody can still see it, Deleted if the
        platform says that it is gone, else Unknown.
        """
        ...

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Search for the post once, completely.

        Return Unknown if the list cannot be read back to before the baseline.
        """
        ...

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete the post. Idempotent."""
        ...

    async def check_health(self) -> HealthCheckResult:
        """Check that the login works."""
        ...

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        """Read the metrics of published posts, by remote id.

        Posts that the platform leaves out are missing.
        """
        ...

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        """Read the account's newest published posts, newest first.

        One cheap read returns as many as it can.
        """
        ...


@runtime_checkable
class TimeSource(Protocol):
    """Optional interface of an adapter for a platform that gives the time at no login's cost."""

    async def fetch_time(self) -> object:
        """Ask for the time with `http.fetch_date`; only the Date header of the response counts."""
        ...


@runtime_checkable
class PostPreviewer(Protocol):
    """Optional interface of an adapter for a platform that can send a preview to one person."""

    async def send_preview(
        self, rendered: RenderedPost, images: Sequence[bytes], recipient: str
    ) -> PreviewResult:
        """Send this exact content to one person, by their name on the platform; publish nothing."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformDefaults:
    """A platform's rate limit and timing if the operator sets none."""

    rate_limit: RateLimit
    timing: Timing


@runtime_checkable
class LoginFlow(Protocol):
    """Browser login by a person.

    A factory for a platform with such a login provides it as `sign_in`.
    """

    def build_authorization_url(
        self, account: Account, secret: Mapping[str, str], state: str
    ) -> str:
        """Return the page for the consent of the account's owner; the response has `state`."""
        ...

    async def exchange_code(
        self, account: Account, secret: Mapping[str, str], response: str, http: Http
    ) -> Mapping[str, str] | Problem:
        """Exchange the response, a code or the whole redirect address, for the secret to store."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRequest:
    """One incoming request, as data. Its sender is unverified and its content arbitrary."""

    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEvent:
    """A platform's notice that a job has ended. It is never trusted, only a reason to check now.

    `job_id` names the job as tickets do. `reason` is a short word for a failure: it is stored as
    `said:JOB_ID` in the adapter state, so that the adapter can explain a rejection that it reads.
    """

    job_id: str
    reason: str = ""


@runtime_checkable
class PlatformCallbacks(Protocol):
    """Callbacks from a platform. Pure.

    A factory for a platform that sends them provides this as `callbacks`.
    """

    @property
    def acknowledgement(self) -> str:
        """The body of the reply to a message that is accepted, also when it comes again."""
        ...

    def is_configured(self, secret: Mapping[str, str]) -> bool:
        """True if the secret contains all that is needed to verify the platform's messages."""
        ...

    def verify(
        self,
        account: Account,
        secret: Mapping[str, str],
        query: Mapping[str, str],
        now: datetime,
    ) -> str | Problem:
        """Return the nonce of a signed, fresh request, unique per message.

        Return a Problem if it is not authentic. Called before the body is read, so the query alone
        decides. Signatures are compared in constant time.
        """
        ...

    def verify_endpoint(
        self,
        account: Account,
        secret: Mapping[str, str],
        request: CallbackRequest,
        now: datetime,
    ) -> str | Problem:
        """Return the response to the platform's check that the endpoint is ours."""
        ...

    def parse(
        self,
        account: Account,
        secret: Mapping[str, str],
        request: CallbackRequest,
        now: datetime,
    ) -> CallbackEvent | Problem | None:
        """Verify and parse a message: an event, None if it is irrelevant, else a Problem."""
        ...

    def matches(self, event: CallbackEvent, ticket: Ticket) -> bool:
        """True if a ticket belongs to the job of the event."""
        ...


class AdapterFactory(Protocol):
    """The entry point `publisher.adapters` of a package: the platform's rules and its adapters.

    It may have the members of `OptionalHooks` as well. All of them are checked when it is loaded.
    """

    @property
    def contract(self) -> int:
        """The version of CONTRACT that the factory was written for, as a number.

        It is not imported from here.
        """
        ...

    @property
    def defaults(self) -> PlatformDefaults: ...

    def capabilities(self, account: Account) -> Capabilities:
        """Return the platform's limits and calls for an account. Pure."""
        ...

    def validate(self, account: Account, rendered: RenderedPost) -> Sequence[Problem]:
        """Return the problems that the platform would reject. Pure.

        If people post everything (`Mode.ASSISTED`), a requirement of the platform's API alone is no
        problem.
        """
        ...

    def create(self, account: Account, context: AdapterContext) -> Adapter:
        """Return the adapter of an account.

        It keeps the context and calls nothing: secrets change while it lives.
        """
        ...


Texts = Mapping[str, str]
"""One text in each language: `zh_CN` and `en`."""


class OptionalHooks:
    """The optional members of a factory, with the rule for a missing one.

    A factory may inherit from it.
    """

    display_name: Texts = MappingProxyType({})
    """The platform's name for people; without it, the name in publisher.toml."""

    messages: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Texts of the platform's codes, in the form of `read_messages`.

    Each code begins with the platform's name and `_`. The codes below come besides these, with the
    platform's name at the end. `place_` says where people sign in, `revoke_` how a login is
    revoked, and `take_down_` how a person deletes a post. `renewal_` is the command that renews
    credentials. `late_` says how late a post may still appear. `assist_note_` has notes for posting
    manually. `preview_` asks for the name to which a preview is sent.
    """

    templates: Path | None = None
    """A folder with pages for this platform, `TEMPLATE/PLATFORM.txt` or `.html`.

    Pages of a workspace replace them.
    """

    secret_fields: Sequence[str] = ()
    """The names of the fields that a secret must have."""

    public_fields: Sequence[str] = ()
    """The names of public fields of the secret, such as an app's id: they are not redacted."""

    sign_in: LoginFlow | None = None
    callbacks: PlatformCallbacks | None = None

    def check_account(self, account: Account) -> Sequence[Problem]:  # noqa: ARG002 # the default
        """Return the problems of an account's settings, although no post may go there. Pure.

        `facts["key"]` names the key in the account's table, such as `profile` or `options.tag_id`.
        The problem is shown at its line. If people post everything (`Mode.ASSISTED`), a requirement
        of the API alone is no problem. It is not called for an account that is off.
        """
        return ()

    def hosts(self, account: Account) -> Collection[str] | None:  # noqa: ARG002 # the default
        """Return every host that is called for an account without `base_url`.

        A host is called by name or as part of an address. No other host may be called then; None
        allows any. If the account's options lead to none of the hosts that are called without them,
        these are a server of its own. On another server the same identity is another account. So
        this is also asked about an account without options. If that raises, no host counts as named
        without them.
        """
        return None

    def call_method(
        self,
        account: Account,  # noqa: ARG002
        rendered: RenderedPost,  # noqa: ARG002
        *,
        is_urgent: bool,  # noqa: ARG002
    ) -> str:
        """Return a word for the call that `publish` would send now; empty if there is only one.

        Pure. It is stored with the attempt, and comes back as `request.method` with every request
        about it. A second call that no person has ordered is made by the same method, or not at
        all.
        """
        return ""


@cache
def read_messages(
    package: str, file: str = "messages.toml"
) -> Mapping[str, Mapping[str, Any]]:
    """Read the texts of a package from a file in it.

    It has a table for each code, with `zh_CN`, `en` and perhaps a `hint`.
    """
    texts = (
        files(package.partition(".")[0])
        .joinpath(*package.split(".")[1:], file)
        .read_text("utf-8")
    )
    return tomllib.loads(texts)
