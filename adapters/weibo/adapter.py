"""One Weibo account: the order of its calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adapters.weibo import api, post_list
from adapters.weibo import api as article
from adapters.weibo.api import WeiboEndpoint, is_article_receipt
from adapters.weibo.capabilities import MAX_PLAIN_CHARACTERS, get_capabilities, measure
from adapters.weibo.post_list import (
    LIST_TOO_SHORT,
    WeiboMatchCriteria,
    decode_ticket,
    encode_ticket,
    interpret_timeline,
    make_criteria,
)
from adapters.weibo.profiles import BIZ, SHARE, get_article_cover_url, get_profile
from adapters.weibo.validation import find_problems
from publisher.contract import AdapterContext, HttpRequest, HttpResponse, Upload
from publisher.domain.account import BEIJING, Account, Capabilities
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedImage, RenderedPost, SendRequest
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    HoldReason,
    NotSent,
    ObservedPost,
    Outcome,
    PossibleMatch,
    Published,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Ticket,
    Unknown,
)

_STATE_KEY = "reads"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBudget:
    """The count of Beijing's present day. Watching and measuring stop at `spare`; ending a doubt never does.

    Reads that wait together and are answered by one call count as often as they were wanted.
    """

    context: AdapterContext
    max_optional_reads: int | None

    async def try_take(self, *, is_optional: bool) -> bool:
        """Count one read, and say whether it may be made."""
        if self.max_optional_reads is None:
            return True
        made = await self._count_today()
        if is_optional and made >= self.max_optional_reads:
            return False
        await self.context.state.set(_STATE_KEY, f"{self._today} {made + 1}")
        return True

    async def _count_today(self) -> int:
        day, _, made = (await self.context.state.get(_STATE_KEY) or "").partition(" ")
        return int(made) if day == self._today else 0

    @property
    def _today(self) -> str:
        return self.context.now().astimezone(BEIJING).date().isoformat()


NOTICE_PERIOD = timedelta(minutes=10)
"""For so long a removal is refused on account of the article that stays."""
_NO_TOKEN_CODE = "weibo_no_token"  # noqa: S105 - the name of a message
_FILE_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboAdapter:
    account: Account
    context: AdapterContext

    @property
    def capabilities(self) -> Capabilities:
        return get_capabilities(self.account)

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        return find_problems(rendered, self.account)

    async def publish(self, request: SendRequest) -> Outcome:
        endpoint = self._get_endpoint()
        if endpoint is None:
            return CredentialExpired(reason=_NO_TOKEN_CODE)
        if self.account.public_ip is None and self.account.base_url is None:
            return Blocked(code="weibo_no_public_ip", reason=self.account.id, hold_reason=HoldReason.PERMISSION)
        as_article = article.is_article(self.account, request.rendered)
        if len(request.images) > (0 if as_article else self.capabilities.picture_limit):
            return Rejected(code="weibo_too_many_images", reason=str(len(request.images)))
        http_request = (
            self._build_article_request(endpoint, request.rendered)
            if as_article
            else await self._prepare_post_request(endpoint, request)
        )
        if not isinstance(http_request, HttpRequest):
            return http_request
        answer = await self.context.http.create(http_request, request)
        if not isinstance(answer, HttpResponse):
            return answer
        ticket, now = encode_ticket(request, is_article=as_article), self.context.now()
        if as_article:
            return api.decode_article(answer, ticket, now)
        return api.decode_created(answer, self.account.identity, ticket, now)

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        as_article = article.is_article(self.account, request.rendered)
        shown = article.render_lead(request.rendered) if as_article else request.rendered.text
        return await self._find_in_lists(make_criteria(request, shown, is_article=as_article))

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Look for the post of a ticket. A plain post number reads that post: live, or gone."""
        criteria = decode_ticket(ticket)
        if isinstance(criteria, WeiboMatchCriteria):
            return await self._find_in_lists(criteria)
        endpoint = self._get_endpoint()
        if endpoint is None:
            return Unknown(reason=_NO_TOKEN_CODE)
        return post_list.decode_show(
            await self._fetch(endpoint, post_list.encode_show(endpoint, criteria)), self.account.identity
        )

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Take the post down, and believe it when a read says so.

        An article behind it stays: Weibo names no call for that, so a person is told first.
        """
        endpoint = self._get_endpoint()
        if endpoint is None:
            return Unknown(reason=_NO_TOKEN_CODE)
        response = await self._send(post_list.encode_destroy(endpoint, receipt.remote_id))
        removal = post_list.decode_destroy(response, receipt.remote_id)
        if removal == post_list.DELETION_UNCONFIRMED:
            removal = await self._confirm_deletion(endpoint, receipt)
        if isinstance(removal, Deleted) and is_article_receipt(receipt) and not await self._has_given_notice(receipt):
            return Rejected(code="weibo_article_not_deleted", reason=receipt.url)
        return removal

    async def check_health(self) -> HealthCheckResult:
        endpoint = self._get_endpoint()
        if endpoint is None:
            return CredentialExpired(reason=_NO_TOKEN_CODE)
        response = await self._fetch(endpoint, post_list.encode_token_info(endpoint), is_optional=True)
        app_key = self.context.secret().get("app_key")
        return post_list.decode_token_info(response, self.account.identity, app_key, self.context.now())

    async def fetch_time(self) -> object:
        """Ask Weibo's host for the time: a probe would be one of the few reads of a day."""
        return await self.context.http.fetch_date(self.account.base_url or get_profile(self.account).base_url)

    async def read_metrics(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | ReadFailure:
        endpoint = self._get_endpoint()
        if endpoint is None:
            return Unknown(reason=_NO_TOKEN_CODE)
        ids = [receipt.remote_id for receipt in receipts]
        figures: dict[str, Reach] = {}
        for start in range(0, len(ids), post_list.MAX_COUNTED_POSTS):
            query = ids[start : start + post_list.MAX_COUNTED_POSTS]
            response = await self._fetch(endpoint, post_list.encode_counts(endpoint, query), is_optional=True)
            found = post_list.decode_counts(response, query)
            if isinstance(found, ReadFailure):
                return found
            figures |= found
        return figures

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        endpoint = self._get_endpoint()
        if endpoint is None:
            return Unknown(reason=_NO_TOKEN_CODE)
        response = await self._fetch(
            endpoint, post_list.encode_timeline(endpoint, endpoint.profile.list_sizes[-1]), is_optional=True
        )
        timeline = post_list.decode_timeline(response, self.account.identity)
        return (
            timeline
            if isinstance(timeline, ReadFailure)
            else post_list.to_observed_posts(timeline, self.account.identity)
        )

    async def _confirm_deletion(self, endpoint: WeiboEndpoint, receipt: Receipt) -> Deleted | ReadFailure:
        """Read whether a post that was to be taken down is gone."""
        shown = await self._fetch(endpoint, post_list.encode_show(endpoint, receipt.remote_id))
        found = post_list.decode_show(shown, self.account.identity)
        return post_list.DELETION_UNCONFIRMED if isinstance(found, Published) else found

    async def _find_in_lists(self, criteria: WeiboMatchCriteria) -> ReadbackResult:
        endpoint = self._get_endpoint()
        if endpoint is None:
            return Unknown(reason=_NO_TOKEN_CODE)
        finding: ReadbackResult = LIST_TOO_SHORT
        possible_match: PossibleMatch | None = None
        for count in endpoint.profile.list_sizes:
            response = await self._fetch(endpoint, post_list.encode_timeline(endpoint, count))
            timeline = post_list.decode_timeline(response, self.account.identity)
            if isinstance(timeline, RateLimited):
                return timeline
            if isinstance(timeline, Unknown):
                return possible_match or timeline
            finding = interpret_timeline(timeline, criteria, self.account.identity, endpoint.profile.max_readable_posts)
            if isinstance(finding, PossibleMatch):  # a longer list may show our own post below it, but cannot refute it
                possible_match = possible_match or finding
            elif finding != LIST_TOO_SHORT:
                break
        return finding if isinstance(finding, Published) else possible_match or finding

    async def _fetch(
        self, endpoint: WeiboEndpoint, request: HttpRequest, *, is_optional: bool = False
    ) -> HttpResponse | NotSent | ReadFailure:
        """Make a read, unless what is left of the day's is kept for ending doubts."""
        reads = ReadBudget(context=self.context, max_optional_reads=endpoint.profile.max_optional_reads)
        if not await reads.try_take(is_optional=is_optional):
            return Unknown(reason="weibo_reads_reserved")
        return await self._send(request)

    async def _send(self, request: HttpRequest) -> HttpResponse | NotSent | ReadFailure:
        """Make a call that creates nothing; say so where the login may make no more for now."""
        response = await self.context.http.fetch(request)
        limit = api.parse_rate_limit(response, self.context.now()) if isinstance(response, HttpResponse) else None
        return limit or response

    async def _has_given_notice(self, receipt: Receipt) -> bool:
        """Whether a person has heard of the article for so long that the telling cannot have been lost in a crash."""
        key = f"article_stays:{receipt.remote_id}"
        told_at = await self.context.state.get(key)
        if told_at is None:
            await self.context.state.set(key, self.context.now().isoformat())
            return False
        return self.context.now() - datetime.fromisoformat(told_at) >= NOTICE_PERIOD

    def _build_article_request(self, endpoint: WeiboEndpoint, rendered: RenderedPost) -> HttpRequest:
        words = api.ArticleForm(
            title=rendered.title,
            content=article.render_content(rendered),
            cover=get_article_cover_url(self.account) or "",
            lead=article.render_lead(rendered),
            client_ip=self.account.public_ip,
        )
        return api.encode_article(endpoint, words)

    async def _prepare_post_request(self, endpoint: WeiboEndpoint, request: SendRequest) -> HttpRequest | Outcome:
        """Prepare the creating call of a plain post, its pictures stored first where the calls want that."""
        words = api.PostForm(
            text=request.rendered.text,
            marker_code=request.marker.code,
            client_ip=self.account.public_ip,
            is_long=measure(request.rendered.text) > MAX_PLAIN_CHARACTERS,
        )
        if endpoint.profile is not BIZ:
            encode = api.encode_share if endpoint.profile is SHARE else api.encode_update
            pictures = [_to_upload(picture, data) for picture, data in _pair_pictures(request)]
            return encode(endpoint, words, pictures[0] if pictures else None)
        stored: list[str] = []
        for picture, data in _pair_pictures(request):
            number = await self._upload_picture(
                endpoint, f"picture:{request.delivery}:{picture.sha256}", _to_upload(picture, data)
            )
            if not isinstance(number, str):
                return number
            stored.append(number)
        return api.encode_multi_picture_post(endpoint, words, stored)

    async def _upload_picture(self, endpoint: WeiboEndpoint, key: str, picture: Upload) -> str | Outcome:
        """Store a picture once for each delivery: how long Weibo keeps one that no post shows is not written down."""
        noted = await self.context.state.get(key)
        if noted is not None:
            return noted
        stored = api.decode_picture(
            await self.context.http.fetch(api.encode_picture(endpoint, picture)), self.context.now()
        )
        if isinstance(stored, str):
            await self.context.failpoint("media.after_upload")
            await self.context.state.set(key, stored)
        return stored

    def _get_endpoint(self) -> WeiboEndpoint | None:
        """Give where calls go; None where there is no token to sign them."""
        token = self.context.secret().get("access_token")
        if not token:
            return None
        return WeiboEndpoint(profile=get_profile(self.account), base_url=self.account.base_url, token=token)


def _pair_pictures(request: SendRequest) -> Sequence[tuple[RenderedImage, bytes]]:
    return list(zip(request.rendered.images, request.images, strict=True))


def _to_upload(picture: RenderedImage, data: bytes) -> Upload:
    suffix = _FILE_SUFFIXES.get(picture.media_type, "bin")
    return Upload(name="pic", filename=f"picture.{suffix}", media_type=picture.media_type, data=data)
