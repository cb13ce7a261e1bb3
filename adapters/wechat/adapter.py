"""One WeChat account: the order of the calls.

How far articles have come, as WeChat's statistics tell it. Pure.

Source: developers.weixin.qq.com, getarticletotaldetail, read 2026-11-24: asked for a day of publishing, up to
yesterday; each line of an article sums up all days from its publishing on. Figures are ready about 08:00 the next day.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from adapters.wechat.api import (
    BASE_URL,
    ArticlePage,
    ErrorResponse,
    JobStatus,
    PendingJob,
    build_json_request,
    decode_articles,
    decode_job,
    decode_published,
    decode_response,
    decode_submit,
    decode_success,
    decode_ticket,
    encode_article,
    encode_delete,
    encode_job,
    encode_published,
    encode_submit,
    encode_ticket,
    get_text,
)
from adapters.wechat.auth import FailedCall, WeChatAuth
from adapters.wechat.capabilities import can_mass_send, get_capabilities, get_tag_id
from adapters.wechat.codes import NO_SUCH_ARTICLE, get_next_midnight, get_reason, interpret_create_error, to_unread
from adapters.wechat.drafts import DRAFT_CONSUMED, PREVIEW_AUTHOR, DraftBox
from adapters.wechat.mass_send import MassSender, decode_mass_send, encode_mass_send, encode_preview, parse_mass_send_id
from adapters.wechat.post_list import match_post, read_pages, to_observed_posts
from adapters.wechat.validation import find_problems, find_setting_problems
from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.account import BEIJING, Account, Capabilities
from publisher.domain.errors import Problem
from publisher.domain.rendered import RenderedPost, SendRequest
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
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
"""So long after its publishing an article may have been noticed, perhaps only the next day."""


def get_days_to_query(receipts: Iterable[Receipt], now: datetime) -> tuple[date, ...]:
    """Give the days in Beijing on which these posts were published, as far as statistics go by now."""
    instants = [at for item in receipts for at in (item.published_at, item.published_at - _MAX_NOTICE_DELAY)]
    today = _to_beijing_day(now)
    return tuple(sorted({_to_beijing_day(at) for at in instants if _to_beijing_day(at) < today}))


def encode_reach(base: str, token: str, day: date) -> HttpRequest:
    """Ask for all articles published on one day."""
    body = {"begin_date": day.isoformat(), "end_date": day.isoformat()}
    return build_json_request(base, "getarticletotaldetail", token, body, path_prefix="datacube")


def decode_reach(response: HttpResponse) -> Mapping[str, Reach] | ErrorResponse:
    """Read the figures by the statistics' own name for an article."""
    return decode_response(
        response, lambda answer: dict(_parse_article(item) for item in answer["list"] if item["detail_list"])
    )


def get_statistics_id(receipt: Receipt) -> str | None:
    """Give the name under which statistics know a post: its message's number and place; None when it cannot be told."""
    mass = parse_mass_send_id(receipt.remote_id)
    if mass is not None:
        return f"{mass.data_id}_1" if mass.data_id else None
    query = parse_qs(urlsplit(receipt.url).query)
    return f"{query['mid'][0]}_{query['idx'][0]}" if {"mid", "idx"} <= query.keys() else None


def _parse_article(item: Mapping[str, Any]) -> tuple[str, Reach]:
    newest = max(item["detail_list"], key=lambda line: str(line["stat_date"]))
    reach = Reach(
        reads=_parse_count(newest, "read_user"),
        reposts=_parse_count(newest, "share_user"),
        comments=_parse_count(newest, "comment_count"),
        likes=_parse_count(newest, "like_user"),
        url=str(item.get("content_url") or "") or None,
    )
    return get_text(item, "msgid"), reach


def _parse_count(line: Mapping[str, Any], name: str) -> int | None:
    value = line.get(name)
    return None if value is None else int(value)


def _to_beijing_day(instant: datetime) -> date:
    return instant.astimezone(BEIJING).date()


MAX_PREVIEWS_PER_DAY = 100
"""As many as WeChat sends to people by name in a day (developers.weixin.qq.com, preview, as users quote it)."""
_COUNT_KEY = "previews"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewSender:
    """Shows renditions of one account. No call of it can make anything public."""

    auth: WeChatAuth
    context: AdapterContext
    drafts: DraftBox

    async def send(self, rendered: RenderedPost, images: Sequence[bytes], recipient: str) -> PreviewResult:
        """Send one preview; several of the same words share one draft."""
        today = self.context.now().astimezone(BEIJING).date().isoformat()
        number = await self._count_sent_on(today)
        if number >= MAX_PREVIEWS_PER_DAY:
            return RateLimited(code="wechat_previews_used_up", until=get_next_midnight(self.context.now()))
        draft = await self._ensure_draft(rendered, images)
        if isinstance(draft, FailedCall):
            return draft.outcome
        await self.context.state.set(_COUNT_KEY, json.dumps({"day": today, "number": number + 1}))
        sent = await self.auth.fetch(
            lambda token: encode_preview(self.auth.base_url, token, draft, recipient), decode_success
        )
        return sent.outcome if isinstance(sent, FailedCall) else PreviewSent()

    async def _count_sent_on(self, day: str) -> int:
        noted = json.loads(await self.context.state.get(_COUNT_KEY) or "{}")
        return int(noted["number"]) if noted.get("day") == day else 0

    async def _ensure_draft(self, rendered: RenderedPost, images: Sequence[bytes]) -> str | FailedCall:
        key = f"preview:{rendered.fingerprint}"
        noted = await self.context.state.get(key)
        standing = await self.drafts.read(noted) if noted is not None else DRAFT_CONSUMED
        if noted is not None and not isinstance(standing, FailedCall):
            return noted
        if standing != DRAFT_CONSUMED and isinstance(standing, FailedCall):
            return standing
        made = await self.drafts.create(rendered, images, author=PREVIEW_AUTHOR)
        if isinstance(made, str):
            await self.context.state.set(key, made)
        return made


POLL_INTERVALS = tuple(timedelta(seconds=seconds) for seconds in (15, 60, 180, 600, 1800))
"""Pauses between two looks at a submission; the platform allows 100 such reads a day, for all posts together."""


class WeChatAdapter:
    """Publishes articles and reads them back; what is urgent is mass-sent where the account's profile says so.

    A submission has no key by which WeChat would know a repeat. What stands in for one is the draft: its id is noted
    before it is submitted or sent, and WeChat takes it out of the draft box when it accepts it.
    """

    def __init__(self, account: Account, context: AdapterContext) -> None:
        self._context = context
        self._account = account
        self._base_url = (account.base_url or BASE_URL).rstrip("/")
        self._auth = WeChatAuth(account=account, context=context, base_url=self._base_url)
        self._drafts = DraftBox(auth=self._auth, context=context)
        self._mass_sender = MassSender(auth=self._auth, context=context)
        self._preview_sender = PreviewSender(auth=self._auth, context=context, drafts=self._drafts)

    @property
    def capabilities(self) -> Capabilities:
        return get_capabilities(self._account)

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        return (*find_setting_problems(self._account), *find_problems(rendered))

    async def publish(self, request: SendRequest) -> Outcome:
        for problem in find_setting_problems(self._account):
            return Blocked(code=problem.code, reason=self._account.id, hold_reason=HoldReason.PERMISSION)
        draft = await self._drafts.ensure_draft(request)
        if isinstance(draft, FailedCall):
            return draft.outcome
        token = await self._auth.get_token()
        return token.outcome if isinstance(token, FailedCall) else await self._create(draft, token, request)

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        work = decode_ticket(ticket)
        if work is None:
            return Unknown(reason="wechat_bad_ticket")
        after = replace(work, looks=work.looks + 1)
        mass = parse_mass_send_id(work.name)
        if mass is not None:
            return await self._mass_sender.check_mass_send(mass, work.delivery, lambda: self._make_submitted(after))
        job = await self._auth.fetch(lambda token: encode_job(self._base_url, token, work.name), decode_job)
        return _to_unread(job) if isinstance(job, FailedCall) else self._interpret_job(job, after)

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        mass = await self._mass_sender.get_published(request.delivery)
        if mass is not None:  # no list shows it
            return await self._mass_sender.check_published(mass)
        article_list = await read_pages(self._list_published_from, request.baseline)
        if isinstance(article_list, FailedCall):
            return _to_unread(article_list)
        matched = match_post(request, article_list.articles)
        if matched is not None and (article_list.covered_since or not isinstance(matched, Deleted)):
            return matched
        if article_list.covered_since is None:
            return Unknown(reason=article_list.reason)
        draft = await self._drafts.get_recorded(request)
        standing = await self._drafts.read(draft) if draft is not None else None
        if standing == DRAFT_CONSUMED:
            is_out_of_sight = self._is_mass_sent(request)  # no list ever shows a mass send
            return Unknown(reason=get_reason(DRAFT_CONSUMED.outcome), is_beyond_list=is_out_of_sight)
        if isinstance(standing, FailedCall):
            return _to_unread(standing)
        return NotFound(covered_since=article_list.covered_since, can_resend=self._is_mass_sent(request))

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete the article, and believe it when a read after that says so; no answer without one ends anything."""
        mass = parse_mass_send_id(receipt.remote_id)
        if mass is not None:
            return await self._mass_sender.retract(mass)
        deleted = await self._auth.fetch(
            lambda token: encode_delete(self._base_url, token, receipt.remote_id), decode_success
        )
        if isinstance(deleted, FailedCall) and deleted.code != NO_SUCH_ARTICLE:
            outcome = deleted.outcome
            return outcome if isinstance(outcome, Rejected) else _to_unread(deleted)
        return await self._confirm_deletion(receipt)

    async def check_health(self) -> HealthCheckResult:
        token = await self._auth.verify()
        if token is None:
            return Healthy()
        outcome = token.outcome
        return outcome if isinstance(outcome, CredentialExpired | Blocked) else _to_unread(token)

    async def fetch_time(self) -> object:
        return await self._context.http.fetch_date(self._base_url)

    async def read_metrics(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | ReadFailure:
        told: dict[str, Reach] = {}
        for day in get_days_to_query(receipts, self._context.now()):
            figures = await self._read_reach(day)
            if isinstance(figures, FailedCall):
                return _to_unread(figures)
            told |= figures
        names = {receipt.remote_id: get_statistics_id(receipt) for receipt in receipts}
        return {remote_id: told[name] for remote_id, name in names.items() if name in told}

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        page = await self._list_published_from(0)
        return _to_unread(page) if isinstance(page, FailedCall) else to_observed_posts(page.articles)

    async def send_preview(self, rendered: RenderedPost, images: Sequence[bytes], recipient: str) -> PreviewResult:
        return await self._preview_sender.send(rendered, images, recipient)

    async def _create(self, draft: str, token: str, request: SendRequest) -> Outcome:
        """Make the draft public: the one call that is never repeated."""
        if self._is_mass_sent(request):
            key = await self._mass_sender.reserve_idempotency_key(request)
            http_request = encode_mass_send(self._base_url, token, draft, get_tag_id(self._account), key)
            decode: Callable[[HttpResponse], str | ErrorResponse] = decode_mass_send
        else:
            http_request, decode = encode_submit(self._base_url, token, draft), decode_submit
        response = await self._context.http.create(http_request, request)
        if isinstance(response, NotSent | Unknown):
            return response
        name = decode(response)
        if isinstance(name, str):
            return self._make_submitted(PendingJob(name=name, delivery=request.delivery, looks=0))
        return await self._interpret_refusal(name, token, request)

    def _is_mass_sent(self, request: SendRequest) -> bool:
        return request.is_urgent and can_mass_send(self._account)

    async def _interpret_refusal(self, trouble: ErrorResponse, token: str, request: SendRequest) -> Outcome:
        outcome = interpret_create_error(trouble, self._context.now())
        if isinstance(outcome, Rejected) and request.attempt > 1:
            return Unknown(reason=outcome.code)  # an earlier call with the same draft may be what it objects to
        if not isinstance(outcome, CredentialExpired):
            return outcome
        renewed = await self._auth.renew(token)
        has_more_to_say = isinstance(renewed, FailedCall) and isinstance(renewed.outcome, Blocked | Busy)
        return renewed.outcome if isinstance(renewed, FailedCall) and has_more_to_say else outcome

    def _make_submitted(self, pending_job: PendingJob) -> Submitted:
        wait = POLL_INTERVALS[min(pending_job.looks, len(POLL_INTERVALS) - 1)]
        return Submitted(ticket=encode_ticket(pending_job), check_again_at=self._context.now() + wait)

    def _interpret_job(self, job: JobStatus, pending_job: PendingJob) -> ReadbackResult:
        match job:
            case JobStatus(status=0, article_id=str() as article_id, url=str() as url):
                return Published(receipt=Receipt(remote_id=article_id, url=url, published_at=self._context.now()))
            case JobStatus(status=1):
                return self._make_submitted(pending_job)
            case JobStatus(status=2 | 3 | 4 as status):
                return Rejected(code=f"wechat_refused_{status}", reason=pending_job.name)
            case JobStatus(status=5 | 6):
                return Deleted()
            case _:
                return Unknown(reason="wechat_unknown_status")

    async def _list_published_from(self, offset: int) -> ArticlePage | FailedCall:
        return await self._auth.fetch(lambda token: encode_published(self._base_url, token, offset), decode_published)

    async def _read_reach(self, day: date) -> Mapping[str, Reach] | FailedCall:
        return await self._auth.fetch(lambda token: encode_reach(self._base_url, token, day), decode_reach)

    async def _confirm_deletion(self, receipt: Receipt) -> Deleted | ReadFailure:
        """Tell whether an article is gone. An id that a person gave us may be wrong, so its absence proves nothing."""
        articles = await self._auth.fetch(
            lambda token: encode_article(self._base_url, token, receipt.remote_id), decode_articles
        )
        if isinstance(articles, FailedCall):
            is_gone = articles.code == NO_SUCH_ARTICLE and not receipt.is_manually_confirmed
            return Deleted() if is_gone else _to_unread(articles)
        return (
            Deleted()
            if all(article.is_deleted for article in articles)
            else Unknown(reason="wechat_deletion_unconfirmed")
        )


def _to_unread(failed: FailedCall) -> ReadFailure:
    return to_unread(failed.outcome)
