"""The adapter of one Weibo account."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from adapters.weibo import api, post_list
from adapters.weibo.api import (
    WeiboEndpoint,
    WeiboMatchCriteria,
    decode_ticket,
    encode_ticket,
    is_article_receipt,
)
from adapters.weibo.capabilities import (
    ARTICLE,
    BIZ,
    MAX_PLAIN_CHARACTERS,
    SHARE,
    get_profile,
    is_article,
    measure,
    render_lead,
)
from adapters.weibo.post_list import (
    LIST_TOO_SHORT,
    AccountNote,
    WeiboPostList,
    interpret_timeline,
)
from publisher.contract import AdapterContext, HttpRequest, HttpResponse, Upload
from publisher.domain.account import BEIJING, Account
from publisher.domain.post import DeliveryId, SendRequest
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
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
    Submitted,
    Ticket,
    Unknown,
)

_READS_KEY = "reads"
NOTICE_PERIOD = timedelta(minutes=10)
"""How long the deletion of a post is refused because its article stays."""
_NO_TOKEN_CODE = "weibo_no_token"  # noqa: S105 - the name of a message


@dataclass(slots=True, kw_only=True)
class AccountMemory:
    """The knowledge of an account's note in this process: its existence, and its deliveries.

    The process tried to make the note for these deliveries.
    """

    is_noted: bool = False
    tried_for: set[DeliveryId] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboAdapter:
    account: Account
    context: AdapterContext
    memory: AccountMemory = field(default_factory=AccountMemory)

    async def publish(self, request: SendRequest) -> Outcome:
        endpoint = self._get_endpoint()
        if not endpoint.token:
            return CredentialExpired(reason=_NO_TOKEN_CODE)
        if self.account.public_ip is None and self.account.base_url is None:
            return Blocked(
                code="weibo_no_public_ip",
                reason=self.account.id,
            )
        as_article = self._is_article(request)
        if limit := await self._note_if_empty(request):
            return limit
        if len(request.images) > (
            0 if as_article else get_profile(self.account).picture_limit
        ):
            return Rejected(
                code="weibo_too_many_images", reason=str(len(request.images))
            )
        if as_article:
            http_request = api.encode_article(endpoint, self.account, request.rendered)
        else:
            prepared = await self._prepare_post_request(endpoint, request)
            if not isinstance(prepared, HttpRequest):
                return prepared
            http_request = prepared
        response = await self.context.http.create(http_request, request)
        if not isinstance(response, HttpResponse):
            return response
        ticket, now = encode_ticket(request, is_article=as_article), self.context.now()
        if as_article:
            outcome = api.decode_article(response, ticket, now)
        else:
            outcome = api.decode_created(response, self.account.identity, ticket, now)
        if isinstance(outcome, Published | Submitted):
            await self._note_own_post()
        return outcome

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        as_article = self._is_article(request)
        text = render_lead(request.rendered) if as_article else request.rendered.text
        criteria = WeiboMatchCriteria(
            marker=request.marker,
            baseline=request.baseline,
            owned_ids=request.owned_ids,
            text=text,
            is_article=as_article,
        )
        note = AccountNote.decode(await self.context.state.get(self._note_key))
        return await self._find_in_lists(
            criteria, was_empty=note.was_empty_before(request)
        )

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Look for the post of a ticket.

        A plain post number reads that post: published or deleted.
        """
        criteria = decode_ticket(ticket)
        if isinstance(criteria, WeiboMatchCriteria):
            return await self._find_in_lists(criteria)
        endpoint = self._get_endpoint()
        response = await self._fetch(
            endpoint, post_list.encode_show(endpoint, criteria)
        )
        return post_list.decode_show(response, self.account.identity)

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete the post. It counts as deleted once a read shows it.

        An article behind it stays: Weibo offers no call to delete it, so a person is notified
        first.
        """
        endpoint = self._get_endpoint()
        response = await self._send(
            endpoint, post_list.encode_destroy(endpoint, receipt.remote_id)
        )
        deletion = post_list.decode_destroy(response, receipt.remote_id)
        if deletion == post_list.DELETION_UNCONFIRMED:
            response = await self._fetch(
                endpoint, post_list.encode_show(endpoint, receipt.remote_id)
            )
            shown = post_list.decode_show(response, self.account.identity)
            deletion = deletion if isinstance(shown, Published) else shown
        if (
            isinstance(deletion, Deleted)
            and is_article_receipt(receipt)
            and not await self._has_given_notice(receipt)
        ):
            return Rejected(code="weibo_article_not_deleted", reason=receipt.url)
        return deletion

    async def check_health(self) -> HealthCheckResult:
        endpoint = self._get_endpoint()
        if not endpoint.token:
            return CredentialExpired(reason=_NO_TOKEN_CODE)
        response = await self._fetch(endpoint, post_list.encode_token_info(endpoint))
        app_key = self.context.secret().get("app_key")
        return post_list.decode_token_info(
            response, self.account.identity, app_key, self.context.now()
        )

    async def fetch_time(self) -> object:
        """Ask Weibo's host for the time.

        A health check would cost one of the few reads of a day.
        """
        return await self.context.http.fetch_date(
            self.account.base_url or get_profile(self.account).base_url
        )

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        endpoint = self._get_endpoint()
        ids = [receipt.remote_id for receipt in receipts]
        metrics: dict[str, Reach] = {}
        for start in range(0, len(ids), post_list.MAX_COUNTED_POSTS):
            batch = ids[start : start + post_list.MAX_COUNTED_POSTS]
            response = await self._fetch(
                endpoint, post_list.encode_counts(endpoint, batch), is_optional=True
            )
            counts = post_list.decode_counts(response, batch)
            if isinstance(counts, ReadFailure):
                return counts
            metrics |= counts
        return metrics

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        endpoint = self._get_endpoint()
        request = post_list.encode_timeline(endpoint, endpoint.profile.list_sizes[-1])
        response = await self._fetch(endpoint, request, is_optional=True)
        timeline = post_list.decode_timeline(response, self.account.identity)
        if isinstance(timeline, ReadFailure):
            return timeline
        await self._learn_from(timeline, self.context.now())
        return post_list.to_observed_posts(timeline)

    async def _note_if_empty(self, request: SendRequest) -> RateLimited | None:
        """Note before an account's first call whether it has posts.

        If it has none, an empty list proves absence later. The list is read for it, unless it was
        read before. A read that fails, or uses up the attempt's time, only leaves that proof out.
        This process does not repeat it for the same delivery.
        """
        memory = self.memory
        if (
            request.baseline.newest_id is not None
            or memory.is_noted
            or request.delivery in memory.tried_for
        ):
            return None
        if (
            AccountNote.decode(await self.context.state.get(self._note_key)).has_posts
            is not None
        ):
            memory.is_noted = True
            memory.tried_for.clear()
            return None
        memory.tried_for.add(request.delivery)
        endpoint = self._get_endpoint()
        list_request = post_list.encode_timeline(
            endpoint, endpoint.profile.list_sizes[0]
        )
        timeline = post_list.decode_timeline(
            await self._fetch(endpoint, list_request), self.account.identity
        )
        if isinstance(timeline, WeiboPostList):
            await self._learn_from(timeline, request.intended_at)
        return timeline if isinstance(timeline, RateLimited) else None

    async def _learn_from(self, timeline: WeiboPostList, at: datetime) -> None:
        """Note whether the account has, or had, any posts, if this list says so.

        The list was read at an instant.
        """
        note = AccountNote.decode(await self.context.state.get(self._note_key))
        if note.learn(timeline, at) != note:
            await self.context.state.update(
                self._note_key,
                lambda stored: AccountNote.decode(stored).learn(timeline, at).encode(),
            )
        self.memory.is_noted = note.learn(timeline, at).has_posts is not None
        if self.memory.is_noted:
            self.memory.tried_for.clear()

    async def _note_own_post(self) -> None:
        """Note that the account has a post: from now on no empty list proves anything."""
        self.memory.tried_for.clear()
        self.memory.is_noted = True
        # an outage of the database, which is logged, must not cost the call's outcome
        with suppress(Exception):
            note = AccountNote.decode(await self.context.state.get(self._note_key))
            if not note.has_posts:
                await self.context.state.set(
                    self._note_key, replace(note, has_posts=True).encode()
                )

    @property
    def _note_key(self) -> str:
        return f"account:{self.account.identity}"

    async def _find_in_lists(
        self, criteria: WeiboMatchCriteria, *, was_empty: bool = False
    ) -> ReadbackResult:
        endpoint = self._get_endpoint()
        result: ReadbackResult = LIST_TOO_SHORT
        possible_match: PossibleMatch | None = None
        for count in endpoint.profile.list_sizes:
            response = await self._fetch(
                endpoint, post_list.encode_timeline(endpoint, count)
            )
            timeline = post_list.decode_timeline(response, self.account.identity)
            if isinstance(timeline, RateLimited):
                return timeline
            if isinstance(timeline, Unknown):
                return possible_match or timeline
            await self._learn_from(timeline, self.context.now())
            result = interpret_timeline(
                timeline,
                criteria,
                self.account.identity,
                endpoint.profile.max_readable_posts,
                was_empty=was_empty,
            )
            # a longer list may show our own post below it, but cannot refute it
            if isinstance(result, PossibleMatch):
                possible_match = possible_match or result
            elif result != LIST_TOO_SHORT:
                break
        return result if isinstance(result, Published) else possible_match or result

    async def _fetch(
        self,
        endpoint: WeiboEndpoint,
        request: HttpRequest,
        *,
        is_optional: bool = False,
    ) -> api.ReadResponse:
        """Make a read within the budget of the current day in Beijing.

        Optional reads, for monitoring and metrics, stop at `max_optional_reads`. Reads that resolve
        an unknown outcome, or name the token's user, never stop. Reads that wait together and share
        one response count each.
        """
        limit = endpoint.profile.max_optional_reads
        if limit is not None and endpoint.token:
            today = self.context.now().astimezone(BEIJING).date().isoformat()
            day, _, count = (await self.context.state.get(_READS_KEY) or "").partition(
                " "
            )
            reads = int(count) if day == today else 0
            if is_optional and reads >= limit:
                return Unknown(reason="weibo_reads_reserved")
            await self.context.state.set(_READS_KEY, f"{today} {reads + 1}")
        return await self._send(endpoint, request)

    async def _send(
        self, endpoint: WeiboEndpoint, request: HttpRequest
    ) -> api.ReadResponse:
        """Make a call that creates nothing; return RateLimited if the platform limits the login."""
        if not endpoint.token:
            return Unknown(reason=_NO_TOKEN_CODE)
        response = await self.context.http.fetch(request)
        limit = (
            api.parse_rate_limit(response, self.context.now())
            if isinstance(response, HttpResponse)
            else None
        )
        return limit or response

    async def _has_given_notice(self, receipt: Receipt) -> bool:
        """True if a person was notified of the article NOTICE_PERIOD ago.

        A crash cannot have lost that alert.
        """
        key = f"article_stays:{receipt.remote_id}"
        notified_at = await self.context.state.get(key)
        if notified_at is None:
            await self.context.state.set(key, self.context.now().isoformat())
            return False
        return self.context.now() - datetime.fromisoformat(notified_at) >= NOTICE_PERIOD

    async def _prepare_post_request(
        self, endpoint: WeiboEndpoint, request: SendRequest
    ) -> HttpRequest | Outcome:
        """Build the creating call of a plain post; the business profile uploads the pictures first.

        Each picture is uploaded once for each delivery: how long Weibo keeps a picture that no post
        shows is not documented.
        """
        form = api.PostForm(
            text=request.rendered.text,
            marker_code=request.marker.code,
            client_ip=self.account.public_ip,
            is_long=endpoint.profile is not SHARE
            and measure(request.rendered.text) > MAX_PLAIN_CHARACTERS,
        )
        uploads = [
            Upload(
                name="pic",
                filename=f"picture.{picture.file_suffix}",
                media_type=picture.media_type,
                data=data,
            )
            for picture, data in zip(
                request.rendered.images, request.images, strict=True
            )
        ]
        if endpoint.profile is not BIZ:
            encode = (
                api.encode_share if endpoint.profile is SHARE else api.encode_update
            )
            return encode(endpoint, form, uploads[0] if uploads else None)
        picture_ids: list[str] = []
        for picture, upload in zip(request.rendered.images, uploads, strict=True):
            key = f"picture:{request.delivery}:{picture.sha256}"
            picture_id = await self.context.state.get(key)
            if picture_id is None:
                response = await self.context.http.fetch(
                    api.encode_picture(endpoint, upload)
                )
                uploaded = api.decode_picture(response, self.context.now())
                if not isinstance(uploaded, str):
                    return uploaded
                await self.context.failpoint("media.after_upload")
                await self.context.state.set(key, uploaded)
                picture_id = uploaded
            picture_ids.append(picture_id)
        return api.encode_multi_picture_post(endpoint, form, picture_ids)

    def _is_article(self, request: SendRequest) -> bool:
        """True if an attempt publishes an article, or did so.

        The account's settings may be different by now.
        """
        return (
            request.method == ARTICLE
            if request.method
            else is_article(self.account, request.rendered)
        )

    def _get_endpoint(self) -> WeiboEndpoint:
        """Return where calls go; its token is empty where there is none to sign them."""
        token = self.context.secret().get("access_token", "")
        return WeiboEndpoint(
            profile=get_profile(self.account),
            base_url=self.account.base_url,
            token=token,
        )
