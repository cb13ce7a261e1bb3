"""What an adapter promises, and what it is handed. Of publisher, adapters import this and the domain, nothing else."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar, runtime_checkable

from publisher.domain.account import Account, Capabilities
from publisher.domain.errors import Problem
from publisher.domain.policy import RateLimit, Timing, parse_retry_after
from publisher.domain.rendered import RenderedPost, SendRequest
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

T = TypeVar("T")


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

    `form` is sent urlencoded, or as multipart beside `uploads`; `content` is a raw body instead of a form. Values may
    be secrets, so they stay out of the representation. `is_repeatable` is False for what leaves something behind each
    time it is asked, such as a draft.
    """

    method: str
    url: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] = field(default_factory=dict, repr=False)
    uploads: tuple[Upload, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_idempotent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """One complete HTTP answer: its body arrived whole and within the cap. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    _decoded: dict[object, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def decode_cached(self, decode: Callable[["HttpResponse", str], T], identity: str) -> T:
        """Give what `decode` makes of it, done once for all who share this answer: a list may end a hundred doubts."""
        if (decode, identity) not in self._decoded:
            self._decoded[decode, identity] = decode(self, identity)
        read: T = self._decoded[decode, identity]
        return read

    def to_rate_limited(self, code: str, now: datetime) -> RateLimited | None:
        """Give the limit that a 429 names, under the adapter's code for it; None for any other answer."""
        if self.status != 429:
            return None
        return RateLimited(code=code, until=parse_retry_after(self.headers.get("retry-after"), now))


class Http(Protocol):
    """The only way to a platform, one per login: at most one call of a login is in flight at a time.

    Trouble on the way is a value: NotSent only when the transport proves that no byte of the request left.
    """

    async def fetch(self, request: HttpRequest) -> HttpResponse | NotSent | Unknown:
        """Make a call that may be repeated: a read, a token, an upload, a draft.

        Those of a login that wait together and ask the same may get one answer, to a call that began after all of them.
        """
        ...

    async def fetch_date(self, base_url: str) -> HttpResponse | NotSent | Unknown:
        """Make a call without credentials to the host of this address, for the date of its reply.

        It has nothing to do with the login: it is made while the login rests, and no answer to it begins a rest.
        """
        ...

    async def create(self, request: HttpRequest, send_request: SendRequest) -> HttpResponse | NotSent | Unknown:
        """Make the one call of a committed attempt that may create a post. Never repeated, by anyone.

        Right before its first byte it is asked whether the call may still begin, and recorded that it does: after a
        crash, a call made in any other way would count as never begun, and would be made a second time.
        """
        ...


class TokenStore(Protocol):
    """The shared store of a login's short-lived tokens."""

    async def current(self) -> str | None:
        """Give the token in force, or None when there is none or it has ended."""
        ...

    async def renew(self, stale: str | None, fetch: Callable[[], Awaitable["Token | None"]]) -> str | None:
        """Replace `stale` by what `fetch` brings, one at a time; whoever comes second gets the first one's token."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A short-lived token and when it ends."""

    value: str = field(repr=False)
    expires_at: datetime


class AdapterState(Protocol):
    """What an adapter must remember across restarts about a login: uploads made, steps done."""

    async def get(self, key: str) -> str | None: ...
    async def set(self, key: str, value: str) -> None: ...
    async def update(self, key: str, change: Callable[[str | None], str]) -> str | None:
        """Put what `change` makes of a note in its place, with nobody else's change in between; give the old one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterContext:
    """All that an adapter is given. `secret` is the login's, read when needed; `failpoint` is for tests of crashes."""

    http: Http
    secret: Callable[[], Mapping[str, str]]
    tokens: TokenStore
    state: AdapterState
    now: Callable[[], datetime]
    failpoint: Callable[[str], Awaitable[None]]


class Adapter(Protocol):
    """One account on one platform. It names what happened; what follows from it is the core's to say.

    Any read may say RateLimited where the platform wants no more calls of the login for now, and then makes no further
    one: the core keeps back every call of the login until then.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        """Tell what the platform would refuse. Pure."""
        ...

    async def publish(self, request: SendRequest) -> Outcome:
        """Make one attempt: whatever may be repeated first, then exactly one `http.create`, then no guess."""
        ...

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Read how far the platform has come."""
        ...

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Take one complete look for the parcel's post; Unknown when the list cannot be read back past the baseline."""
        ...

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Take the post down. Repeating it is harmless."""
        ...

    async def check_health(self) -> HealthCheckResult:
        """Read whether the login works."""
        ...

    async def read_metrics(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | ReadFailure:
        """Read how far these live posts have come, by their remote ids; one that the platform leaves out is missing."""
        ...

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        """Read the newest live posts of the account, newest first, as many as one frugal read gives."""
        ...


@runtime_checkable
class TimeSource(Protocol):
    """How a platform says what time it is at no cost to a login. An adapter that can has this face as well."""

    async def fetch_time(self) -> object:
        """Ask for the time by `http.ask_time`: whatever the reply says, it is dated."""
        ...


@runtime_checkable
class PostPreviewer(Protocol):
    """How a post is shown to one person first. An adapter whose platform can do that has this face as well."""

    async def send_preview(self, rendered: RenderedPost, images: Sequence[bytes], recipient: str) -> PreviewResult:
        """Show these very words and pictures to one person, by the platform's name for them; make nothing public."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformDefaults:
    """How often and how patiently a platform is used where the operator says nothing."""

    rate_limit: RateLimit
    timing: Timing


class LoginFlow(Protocol):
    """How a person signs a login in with a browser. A factory whose platform works like that has one as `sign_in`."""

    def build_authorization_url(self, account: Account, secret: Mapping[str, str], state: str) -> str:
        """Give the page where the account's keeper consents; `state` comes back with the answer."""
        ...

    async def exchange_code(
        self, account: Account, secret: Mapping[str, str], response: str, http: Http
    ) -> Mapping[str, str] | Problem:
        """Change the answer, a code or the whole address it came in, for the secret to be kept from now on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRequest:
    """One request that came in from outside, as data: whoever sent it, it is whatever they liked."""

    query: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEvent:
    """A platform's word that something has ended. It is never believed, only a reason to read now.

    `number` names what has ended as tickets do. `said` is a short word for why it ended badly: it is noted as
    `said:NUMBER` for the adapter, which may put a refusal that it has read into words.
    """

    job_id: str
    reason: str = ""


class PlatformCallbacks(Protocol):
    """How a platform tells us of itself. Pure; a factory whose platform does so has one as `callbacks`."""

    def is_configured(self, secret: Mapping[str, str]) -> bool:
        """Whether the secret holds what is needed to know the platform's messages from others."""
        ...

    def verify(
        self, account: Account, secret: Mapping[str, str], query: Mapping[str, str], now: datetime
    ) -> str | Problem:
        """Give the nonce of a signed, fresh request, which no two messages share; a Problem when it proves nothing.

        It is asked before the body is read, so the query alone decides; signatures are compared in constant time.
        """
        ...

    def verify_endpoint(
        self, account: Account, secret: Mapping[str, str], request: CallbackRequest, now: datetime
    ) -> str | Problem:
        """Give the answer that proves the address to be ours, when the platform asks for it."""
        ...

    def parse(
        self, account: Account, secret: Mapping[str, str], request: CallbackRequest, now: datetime
    ) -> CallbackEvent | Problem | None:
        """Read a message, having verified it as a whole: a hint, None for what is of no concern, else a Problem."""
        ...

    def matches(self, event: CallbackEvent, ticket: Ticket) -> bool:
        """Whether a ticket is of what the hint says has ended."""
        ...


class AdapterFactory(Protocol):
    """What a package registers under `publisher.adapters`: how to build an adapter, and its platform's defaults."""

    @property
    def defaults(self) -> PlatformDefaults: ...

    def create(self, account: Account, context: AdapterContext) -> Adapter: ...


@runtime_checkable
class AddressProvider(Protocol):
    """How it is known where a platform is called. A factory that can say so has this face as well."""

    def list_addresses(self, account: Account) -> Collection[str]:
        """Give every address whose host is called for an account without `base_url`: no other host is."""
        ...
