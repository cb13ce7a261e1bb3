"""The adapter of one WeChat account.

Metrics source: developers.weixin.qq.com, getarticletotaldetail, read 2026-11-24: it takes a day of
publishing, up to yesterday; each line of an article sums up all days since its publishing. Figures
are ready about 08:00 the next day.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

from adapters.wechat import api
from adapters.wechat.auth import FailedCall, WeChatAuth
from adapters.wechat.capabilities import MASS_SEND, get_tag_id
from adapters.wechat.codes import (
    NO_SUCH_ARTICLE,
    get_next_midnight,
    get_reason,
    interpret_create_error,
)
from adapters.wechat.drafts import DRAFT_CONSUMED, PREVIEW_AUTHOR, DraftBox
from adapters.wechat.mass_send import (
    MassSender,
    decode_mass_send,
    encode_mass_send,
    encode_preview,
    parse_mass_send_id,
)
from adapters.wechat.post_list import match_post, read_pages, to_observed_posts
from adapters.wechat.validation import find_account_problems
from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.account import BEIJING, Account
from publisher.domain.post import RenderedPost, SendRequest
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    NotFound,
    NotSent,
    ObservedPost,
    Outcome,
    PreviewResult,
    PreviewSent,
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

_MAX_NOTICE_DELAY = timedelta(hours=1)
"""How long after its publishing we may notice an article, perhaps only the next day."""
MAX_PREVIEWS_PER_DAY = 100
"""The most previews by name that WeChat sends in a day.

The source is developers.weixin.qq.com, preview, as users quote it.
"""
_PREVIEW_COUNT_KEY = "previews"
POLL_INTERVALS = tuple(
    timedelta(seconds=seconds) for seconds in (15, 60, 180, 600, 1800)
)
"""Pauses between two reads of a submission.

The platform allows 100 such reads a day, for all posts together.
"""


def get_days_to_query(receipts: Iterable[Receipt], now: datetime) -> tuple[date, ...]:
    """Return the Beijing days of these posts' publication, as far as statistics exist by now."""
    instants = [
        at
        for item in receipts
        for at in (item.published_at, item.published_at - _MAX_NOTICE_DELAY)
    ]
    today = _to_beijing_day(now)
    return tuple(
        sorted({_to_beijing_day(at) for at in instants if _to_beijing_day(at) < today})
    )


def encode_reach(base: str, token: str, day: date) -> HttpRequest:
    """Request the figures of all articles published on one day."""
    body = {"begin_date": day.isoformat(), "end_date": day.isoformat()}
    return api.build_json_request(
        base, "getarticletotaldetail", token, body, path_prefix="datacube"
    )


def decode_reach(response: HttpResponse) -> Mapping[str, Reach] | api.ErrorResponse:
    """Return the figures by the statistics' own id of an article."""

    def parse_articles(body: Mapping[str, Any]) -> Mapping[str, Reach]:
        reach = {}
        for item in body["list"]:
            if item["detail_list"]:
                newest = max(
                    item["detail_list"], key=lambda line: str(line["stat_date"])
                )
                reach[api.get_text(item, "msgid")] = Reach(
                    reads=_parse_count(newest, "read_user"),
                    reposts=_parse_count(newest, "share_user"),
                    comments=_parse_count(newest, "comment_count"),
                    likes=_parse_count(newest, "like_user"),
                    url=str(item.get("content_url") or "") or None,
                )
        return reach

    return api.decode_response(response, parse_articles)


def get_statistics_id(receipt: Receipt) -> str | None:
    """Return the id of a post in the statistics: its message's number and place.

    Return None if it is unknown.
    """
    mass = parse_mass_send_id(receipt.remote_id)
    if mass is not None:
        return f"{mass.data_id}_1" if mass.data_id else None
    query = parse_qs(urlsplit(receipt.url).query)
    return (
        f"{query['mid'][0]}_{query['idx'][0]}"
        if {"mid", "idx"} <= query.keys()
        else None
    )


def count_preview(note: str | None, today: str) -> str:
    """Add a preview to the note of a day's count."""
    return json.dumps({"day": today, "number": get_preview_count(note, today) + 1})


def get_preview_count(note: str | None, today: str) -> int:
    """Return how many previews were made today, including failed ones."""
    count = json.loads(note or "{}")
    return int(count["number"]) if count.get("day") == today else 0


def _parse_count(line: Mapping[str, Any], name: str) -> int | None:
    value = line.get(name)
    return None if value is None else int(value)


def _to_beijing_day(instant: datetime) -> date:
    return instant.astimezone(BEIJING).date()


class WeChatAdapter:
    """Publishes articles and reads them back; urgent posts are mass-sent if the profile allows it.

    The profile is the account's. A submission has no key for WeChat to recognise a repeat. The
    draft replaces it: its id is recorded before it is submitted or sent. WeChat removes the draft
    from the draft box when it accepts it.
    """

    def __init__(self, account: Account, context: AdapterContext) -> None:
        self._context = context
        self.account = account
        self._base_url = (account.base_url or api.BASE_URL).rstrip("/")
        self._auth = WeChatAuth(
            account=account, context=context, base_url=self._base_url
        )
        self._drafts = DraftBox(auth=self._auth, context=context)
        self._mass_sender = MassSender(auth=self._auth, context=context)

    async def publish(self, request: SendRequest) -> Outcome:
        """Create the draft and publish it with the one call that is never repeated."""
        for problem in find_account_problems(self.account):
            return Blocked(
                code=problem.code,
                reason=self.account.id,
            )
        draft = await self._drafts.ensure_draft(request)
        if isinstance(draft, FailedCall):
            return draft.outcome
        token = await self._auth.get_token()
        if isinstance(token, FailedCall):
            return token.outcome
        if request.method == MASS_SEND:
            key = await self._mass_sender.reserve_idempotency_key(request)
            http_request = encode_mass_send(
                self._base_url, token, draft, get_tag_id(self.account), key
            )
            decode: Callable[[HttpResponse], str | api.ErrorResponse] = decode_mass_send
        else:
            http_request = api.encode_submit(self._base_url, token, draft)
            decode = api.decode_submit
        response = await self._context.http.create(http_request, request)
        if isinstance(response, NotSent | Unknown):
            return response
        result = decode(response)
        if isinstance(result, str):
            return self._make_submitted(
                api.PendingJob(name=result, delivery=request.delivery, polls=0)
            )
        outcome = interpret_create_error(result, self._context.now())
        if isinstance(outcome, Rejected) and request.attempt > 1:
            # an earlier call with the same draft may be what it refuses
            return Unknown(reason=outcome.code)
        if not isinstance(outcome, CredentialExpired):
            return outcome
        renewed = await self._auth.renew(token)
        # more precise
        if isinstance(renewed, FailedCall) and isinstance(
            renewed.outcome, Blocked | Busy
        ):
            return renewed.outcome
        return outcome

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        pending = api.decode_ticket(ticket)
        if pending is None:
            return Unknown(reason="wechat_bad_ticket")
        polled = replace(pending, polls=pending.polls + 1)
        mass = parse_mass_send_id(pending.name)
        if mass is not None:
            return await self._mass_sender.check_mass_send(
                mass, pending.delivery, lambda: self._make_submitted(polled)
            )
        job = await self._auth.fetch(
            partial(api.encode_job, publish_id=pending.name), api.decode_job
        )
        match job:
            case FailedCall():
                return job.unread
            case api.JobStatus(
                status=0, article_id=str() as article_id, url=str() as url
            ):
                return Published(
                    receipt=Receipt(
                        remote_id=article_id, url=url, published_at=self._context.now()
                    )
                )
            case api.JobStatus(status=1):
                return self._make_submitted(polled)
            case api.JobStatus(status=2 | 3 | 4 as status):
                return Rejected(code=f"wechat_refused_{status}", reason=pending.name)
            case api.JobStatus(status=5 | 6):
                return Deleted()
            case _:
                return Unknown(reason="wechat_unknown_status")

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        mass = await self._mass_sender.get_published(request.delivery)
        if mass is not None:  # no list shows it
            return await self._mass_sender.check_published(mass)
        article_list = await read_pages(self._list_published_from, request.baseline)
        if isinstance(article_list, FailedCall):
            return article_list.unread
        matched = match_post(request, article_list)
        if not isinstance(matched, NotFound):
            return matched
        # whatever the post, or the account's profile, is by now
        was_mass_sent = request.method == MASS_SEND
        draft = await self._drafts.get_recorded(request)
        content = await self._drafts.read(draft) if draft is not None else None
        if content == DRAFT_CONSUMED:
            return Unknown(
                reason=get_reason(DRAFT_CONSUMED.outcome), is_beyond_list=was_mass_sent
            )
        if isinstance(content, FailedCall):
            return content.unread
        can_resend = was_mass_sent and await self._mass_sender.is_key_remembered(
            request
        )
        return replace(matched, can_resend=can_resend)

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete the article.

        It counts as deleted once a read shows it, for any result of the deletion call. An id that a
        person entered may be wrong, so its absence proves nothing.
        """
        mass = parse_mass_send_id(receipt.remote_id)
        if mass is not None:
            return await self._mass_sender.retract(mass)
        deleted = await self._auth.fetch(
            partial(api.encode_delete, article_id=receipt.remote_id), api.decode_success
        )
        if isinstance(deleted, FailedCall) and deleted.code != NO_SUCH_ARTICLE:
            return (
                deleted.outcome
                if isinstance(deleted.outcome, Rejected)
                else deleted.unread
            )
        articles = await self._auth.fetch(
            partial(api.encode_article, article_id=receipt.remote_id),
            api.decode_articles,
        )
        if isinstance(articles, FailedCall):
            is_deleted = (
                articles.code == NO_SUCH_ARTICLE and not receipt.is_manually_confirmed
            )
            return Deleted() if is_deleted else articles.unread
        if all(article.is_deleted for article in articles):
            return Deleted()
        return Unknown(reason="wechat_deletion_unconfirmed")

    async def check_health(self) -> HealthCheckResult:
        """Fetch the token that is current on WeChat's side; it stays current."""
        fetched = await self._auth.fetch_token()
        if not isinstance(fetched, FailedCall):
            return Healthy()
        outcome = fetched.outcome
        return (
            outcome
            if isinstance(outcome, CredentialExpired | Blocked)
            else fetched.unread
        )

    async def fetch_time(self) -> object:
        return await self._context.http.fetch_date(self._base_url)

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        metrics: dict[str, Reach] = {}
        for day in get_days_to_query(receipts, self._context.now()):
            reach = await self._auth.fetch(partial(encode_reach, day=day), decode_reach)
            if isinstance(reach, FailedCall):
                return reach.unread
            metrics |= reach
        ids = {receipt.remote_id: get_statistics_id(receipt) for receipt in receipts}
        return {
            remote_id: metrics[name]
            for remote_id, name in ids.items()
            if name in metrics
        }

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        page = await self._list_published_from(0)
        return (
            page.unread
            if isinstance(page, FailedCall)
            else to_observed_posts(page.articles)
        )

    async def send_preview(
        self, rendered: RenderedPost, images: Sequence[bytes], recipient: str
    ) -> PreviewResult:
        """Send one preview; previews of the same post share one draft.

        No call makes anything public.
        """
        state, now = self._context.state, self._context.now()
        today = now.astimezone(BEIJING).date().isoformat()
        before = await state.update(
            _PREVIEW_COUNT_KEY, partial(count_preview, today=today)
        )
        if get_preview_count(before, today) >= MAX_PREVIEWS_PER_DAY:
            return RateLimited(
                code="wechat_previews_used_up", until=get_next_midnight(now)
            )
        draft_key = f"preview:{rendered.fingerprint}"
        draft = await state.get(draft_key)
        content = (
            await self._drafts.read(draft) if draft is not None else DRAFT_CONSUMED
        )
        if isinstance(content, FailedCall) and content != DRAFT_CONSUMED:
            return content.outcome
        if draft is None or content == DRAFT_CONSUMED:
            created = await self._drafts.create(rendered, images, author=PREVIEW_AUTHOR)
            if isinstance(created, FailedCall):
                return created.outcome
            await state.set(draft_key, created)
            draft = created
        result = await self._auth.fetch(
            partial(encode_preview, draft=draft, recipient=recipient),
            api.decode_success,
        )
        return result.outcome if isinstance(result, FailedCall) else PreviewSent()

    def _make_submitted(self, pending: api.PendingJob) -> Submitted:
        interval = POLL_INTERVALS[min(pending.polls, len(POLL_INTERVALS) - 1)]
        return Submitted(
            ticket=api.encode_ticket(pending),
            check_again_at=self._context.now() + interval,
        )

    async def _list_published_from(self, offset: int) -> api.ArticlePage | FailedCall:
        return await self._auth.fetch(
            partial(api.encode_published, offset=offset), api.decode_published
        )
