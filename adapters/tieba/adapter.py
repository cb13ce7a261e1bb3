"""One Tieba account in one forum: the order of its calls.

What the platform has against an account, read before anything is written. Pure.

`c/s/pc/sync` is the 2026 PC site's own; clients read `anti.tbs` and `user.is_login` in it. The numbers of `block_stat`,
`hide_stat` and `vcode_stat` are those of the official app's dialogs (n0099/open-tbclient, `AntiHelper`); all read on
2026-11-24.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.tieba import api, post_list, replies
from adapters.tieba.api import (
    Json,
    RequestFailure,
    decode_body,
    get_account_flags,
    get_error_code,
    get_object,
    is_posting_hidden,
    sign_pc_form,
    to_int,
)
from adapters.tieba.capabilities import CAPABILITIES, get_configured_forum_id
from adapters.tieba.codes import CODES, THREAD_GONE_CODES, TiebaErrorClass, to_message_key
from adapters.tieba.post_list import ThreadQuery, TiebaThreadList, build_thread_url, decode_thread_page
from adapters.tieba.validation import find_problems
from publisher.contract import AdapterContext, HttpRequest, HttpResponse, Upload
from publisher.domain.account import Account, Capabilities
from publisher.domain.errors import Problem
from publisher.domain.rendered import Marker, RenderedPost, SendRequest
from publisher.domain.results import (
    Blocked,
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

MAX_MEASURED_THREADS = 10
"""So many threads are read at one time; each costs a call, and hurried reads are noticed."""
THREAD_ONLY_REASONS = frozenset({"tieba_other_page", "tieba_wrong_account"})
"""What is strange about one thread and says nothing of the next."""


def decode_reach(response: HttpResponse | RequestFailure, query: ThreadQuery) -> Reach | Deleted | ReadFailure:
    """Read a thread's figures as anybody is shown them; replies may or may not count the first floor."""
    body = decode_thread_page(response, query)
    if not isinstance(body, Mapping):
        return body
    thread = get_object(body, "thread")
    return Reach(
        reads=_find_largest(body.get("thread_freq_num"), thread.get("view_num")),
        reposts=_find_largest(thread.get("share_num")),
        comments=_find_largest(thread.get("reply_num")),
        likes=_find_largest(thread.get("agree_num"), get_object(thread, "agree").get("agree_num")),
    )


def to_observed_posts(listing: TiebaThreadList, fid: int) -> Sequence[ObservedPost]:
    """Give the threads in one forum that others are shown too, newest first."""
    shown = [item for item in listing.items if item.fid == fid and item.is_visible]
    newest = sorted(shown, key=lambda item: (item.created_at, int(item.tid)), reverse=True)
    return [
        ObservedPost(
            remote_id=item.tid,
            url=build_thread_url(item.tid),
            published_at=item.created_at,
            text=f"{item.title}\n{item.abstract}",
        )
        for item in newest
    ]


def _find_largest(*values: object) -> int | None:
    """Give the largest figure told: the app's readers take views from one place, the site's from another."""
    figures = [figure for value in values if (figure := to_int(value)) is not None and figure >= 0]
    return max(figures, default=None)


BANNED_EVERYWHERE = 2
"""As `block_stat`; 3 is a ban in one forum, which need not be ours: there the write itself is refused."""


def encode_account_status(host: str, cookies: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(method="GET", url=f"{host}/c/s/pc/sync", query=sign_pc_form({}), cookies=cookies)


def decode_account_status(response: HttpResponse | RequestFailure, identity: str) -> Blocked | None:
    """Tell what a person must see to first; None where nothing is said against the account, or nothing can be read."""
    body = decode_body(response)
    if not isinstance(body, Mapping) or get_error_code(body) != 0:
        return None
    stranger = _find_other_identity(get_object(body, "user"), identity)
    if stranger is not None:
        return Blocked(code="tieba_other_session", reason=stranger, hold_reason=HoldReason.WRONG_ACCOUNT)
    anti = get_account_flags(body)
    if to_int(anti.get("block_stat")) == BANNED_EVERYWHERE:
        return Blocked(code="tieba_banned", reason="")
    if is_posting_hidden(body):
        return Blocked(code="tieba_hidden", reason="")
    if to_int(anti.get("vcode_stat")) == 1:
        return Blocked(code="tieba_captcha", reason="", hold_reason=HoldReason.CAPTCHA)
    return None


def _find_other_identity(user: Json, identity: str) -> str | None:
    """Give whose session it is where that is surely somebody else: like is compared with like only."""
    keys = ("portrait",) if identity.startswith("tb.") else ("name", "name_show")
    names = [str(user[key]).partition("?")[0] for key in keys if user.get(key)]
    return names[0] if names and identity not in names else None


MAX_PAGES = 10
_FINAL_ERROR_CLASSES = frozenset(
    {
        TiebaErrorClass.REJECTED,
        TiebaErrorClass.CREDENTIAL,
        TiebaErrorClass.ACCOUNT,
        TiebaErrorClass.PERMISSION,
        TiebaErrorClass.CAPTCHA,
    }
)
_DELETION_UNCONFIRMED = Unknown(reason="tieba_deletion_unconfirmed")
"""The answer that a thread is deleted, or not there, before a read has shown it."""
_NOT_CONNECTED_REASONS = frozenset({
    "dns_failed", "dns_timeout", "connect_failed", "connect_timeout", "tls_failed", "host_not_allowed",
})  # fmt: skip
_FILE_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TiebaAdapter:
    account: Account
    context: AdapterContext

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    def validate(self, rendered: RenderedPost) -> Sequence[Problem]:
        return find_problems(rendered, self.account)

    async def publish(self, request: SendRequest) -> Outcome:
        """Open one thread, or add one floor to it. Success is only ever Submitted: being taken is not being seen."""
        if not self.account.has_accepted_risk:
            return Blocked(code="tieba_risk_not_accepted", reason=self.account.id, hold_reason=HoldReason.PERMISSION)
        tid = replies.get_thread_id(request.parent) if request.part else None
        if request.part and tid is None:
            return Rejected(code="tieba_thread_id_unknown", reason=request.parent.url if request.parent else "")
        tbs = await self._get_session_token()
        if not isinstance(tbs, str):
            return _to_preparation_failure(tbs)
        trouble = await self._check_account_status()
        if trouble is not None:
            return trouble
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_preparation_failure(fid)
        http_request = (
            await self._prepare_thread_request(request, fid, tbs)
            if tid is None
            else self._build_reply_request(request, fid, tbs, tid)
        )
        if not isinstance(http_request, HttpRequest):
            return http_request
        answer = await self.context.http.create(http_request, request)
        return self._interpret_thread(answer, request) if tid is None else self._interpret_reply(answer, request, tid)

    def _build_reply_request(self, request: SendRequest, fid: int, tbs: str, tid: str) -> HttpRequest:
        reply = replies.ReplyForm(forum=self._forum_name, fid=fid, tid=tid, content=request.text)
        return replies.encode_reply(self._web_url, self._cookies(), tbs, reply)

    async def _prepare_thread_request(self, request: SendRequest, fid: int, tbs: str) -> HttpRequest | Outcome:
        """Upload the pictures and make the call that opens the thread; or say what keeps it from being made."""
        picture_markup = await self._upload_pictures(request, tbs)
        if not isinstance(picture_markup, list):
            return _to_preparation_failure(picture_markup)
        if picture_markup:  # uploads take their time, and how long a token lives is not published
            fresh = await self._get_session_token()
            if not isinstance(fresh, str):
                return _to_preparation_failure(fresh)
            tbs = fresh
        content = "\r\n".join([request.text, *picture_markup])
        thread = api.ThreadForm(forum=self._forum_name, fid=fid, title=request.rendered.title, content=content)
        return api.encode_thread(self._web_url, self._cookies(), tbs, thread)

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Look for a thread or floor as anybody sees it. A plain thread number reads that thread: live, or gone."""
        if (floor := replies.decode_ticket(ticket)) is not None:
            return await self._find_reply(floor)
        criteria = post_list.decode_ticket(ticket)
        if isinstance(criteria, str):
            return await self._read_thread(criteria, None)
        return await (
            self._check_unknown_thread(criteria)
            if criteria.tid is None
            else self._check_known_thread(criteria, criteria.tid)
        )

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        if not request.part:
            return await self._find_in_lists(post_list.make_criteria(request))
        tid = replies.get_thread_id(request.parent)
        if tid is None:
            return Unknown(reason="tieba_thread_id_unknown")
        return await self._find_reply(replies.make_criteria(request, tid))

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete the thread, and believe it when a read after that shows that nobody can see it any more."""
        tbs = await self._get_session_token()
        if not isinstance(tbs, str):
            return api.to_unread(tbs)
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_unread_forum(fid)
        thread = (receipt.remote_id, self._forum_name, fid)
        request = api.encode_delete(self._app_url, self.context.secret().get("BDUSS", ""), tbs, thread)
        removal = _interpret_deletion(await self._fetch(request))
        if removal != _DELETION_UNCONFIRMED:
            return removal
        shown = await self._read_thread(receipt.remote_id, None)
        return _DELETION_UNCONFIRMED if isinstance(shown, Published) else shown

    async def check_health(self) -> HealthCheckResult:
        tbs = await self._get_session_token()
        if not isinstance(tbs, str):
            return tbs
        trouble = await self._check_account_status()
        if trouble is not None:
            return trouble
        fid = await self._get_forum_id()
        return Healthy() if isinstance(fid, int) else fid

    async def fetch_time(self) -> object:
        return await self.context.http.fetch_date(self._web_url)

    async def read_metrics(self, receipts: Sequence[Receipt]) -> Mapping[str, Reach] | ReadFailure:
        """Read threads one by one, as anybody sees them, the first few of them; trouble ends it."""
        figures: dict[str, Reach] = {}
        for receipt in receipts[:MAX_MEASURED_THREADS]:
            query = post_list.ThreadQuery(tid=receipt.remote_id, marker=None, identity=self.account.identity)
            response = await self._fetch(api.encode_page(self._web_url, receipt.remote_id))
            found = decode_reach(response, query)
            if isinstance(found, Reach):
                figures[receipt.remote_id] = found
            elif isinstance(found, RateLimited):
                return found
            elif isinstance(found, Unknown) and found.reason not in THREAD_ONLY_REASONS:
                return figures or found
        return figures

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_unread_forum(fid)
        page = await self._list_own_threads(1)
        return page if isinstance(page, ReadFailure) else to_observed_posts(page, fid)

    def _interpret_thread(self, answer: HttpResponse | NotSent | Unknown, request: SendRequest) -> Outcome:
        if not isinstance(answer, HttpResponse):
            return answer
        now = self.context.now()
        unseen = post_list.encode_ticket(post_list.make_criteria(request))
        outcome = api.decode_created(answer, "tid", unseen, now)
        if not isinstance(outcome, api.CreatedPost):
            return outcome
        if outcome.is_hidden:
            return _block_as_hidden(post_list.build_thread_url(outcome.post_id))
        ticket = post_list.encode_ticket(post_list.make_criteria(request, outcome.post_id))
        return Submitted(ticket=ticket, check_again_at=now + api.VISIBLE_AFTER)

    def _interpret_reply(self, answer: HttpResponse | NotSent | Unknown, request: SendRequest, tid: str) -> Outcome:
        if not isinstance(answer, HttpResponse):
            return answer
        now = self.context.now()
        outcome = replies.decode_reply(answer, replies.make_criteria(request, tid), now)
        if not isinstance(outcome, api.CreatedPost):
            return outcome
        if outcome.is_hidden:
            return _block_as_hidden(replies.build_reply_url(tid, outcome.post_id))
        ticket = replies.encode_ticket(replies.make_criteria(request, tid, outcome.post_id))
        return Submitted(ticket=ticket, check_again_at=now + api.VISIBLE_AFTER)

    async def _find_reply(self, criteria: replies.ReplyMatchCriteria) -> ReadbackResult:
        """Read the thread's own floors, page by page, as anybody sees them."""
        query = post_list.ThreadQuery(tid=criteria.tid, marker=None, identity=self.account.identity)
        pages: list[replies.ReplyPage] = []
        for number in range(1, MAX_PAGES + 1):
            request = api.encode_page(self._web_url, criteria.tid, number, is_own_only=True)
            page = replies.decode_replies(await self._fetch(request), query)
            if isinstance(page, ReadFailure):
                return page
            pages.append(page)
            if page.is_last:
                break
        return replies.interpret_replies(pages, criteria, self.context.now())

    async def _check_known_thread(self, criteria: post_list.ThreadMatchCriteria, tid: str) -> ReadbackResult:
        page = await self._read_thread(tid, criteria.marker)
        if isinstance(page, Deleted):  # nobody sees it: in review, hidden, or removed; which of them cannot be told
            return NotFound(covered_since=criteria.baseline.taken_at)
        return page

    async def _check_unknown_thread(self, criteria: post_list.ThreadMatchCriteria) -> ReadbackResult:
        """Look for a thread in review under no number yet, and keep its number once the account's list shows it."""
        found = await self._find_in_lists(criteria)
        tid = _get_ticket_tid(found.ticket) if isinstance(found, Submitted) else None
        if not isinstance(found, Submitted) or tid is None:
            return found
        seen = await self._check_known_thread(criteria, tid)
        if isinstance(seen, Published):
            return seen
        return Submitted(ticket=found.ticket, check_again_at=self.context.now() + api.REVIEW_CHECK_INTERVAL)

    async def _read_thread(self, tid: str, marker: Marker | None) -> Published | Deleted | ReadFailure:
        response = await self._fetch(api.encode_page(self._web_url, tid))
        query = post_list.ThreadQuery(tid=tid, marker=marker, identity=self.account.identity)
        return post_list.interpret_page(response, query, self.context.now())

    async def _find_in_lists(self, criteria: post_list.ThreadMatchCriteria) -> ReadbackResult:
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_unread_forum(fid)
        pages: list[post_list.TiebaThreadList] = []
        for number in range(1, MAX_PAGES + 1):
            page = await self._list_own_threads(number)
            if isinstance(page, ReadFailure):
                return page
            pages.append(page)
            if (
                not page.items
                or page.is_complete
                or post_list.covers_baseline(post_list.join_pages(pages), criteria.baseline)
            ):
                break
        return post_list.interpret_thread_list(post_list.join_pages(pages), criteria, fid, self.context.now())

    async def _list_own_threads(self, number: int) -> post_list.TiebaThreadList | ReadFailure:
        """Read one page of the account's own list."""
        request = api.encode_own_threads(self._web_url, self._cookies(), self.account.identity, number)
        return post_list.decode_own_threads(await self._fetch(request), self.account.identity)

    async def _fetch(self, request: HttpRequest) -> HttpResponse | NotSent | ReadFailure:
        """Make a call that creates nothing; say so where the login may make no more for now."""
        response = await self.context.http.fetch(request)
        limit = api.parse_rate_limit(response, self.context.now()) if isinstance(response, HttpResponse) else None
        return limit or response

    async def _get_session_token(self) -> str | CredentialExpired | ReadFailure:
        if not self.context.secret().get("BDUSS"):
            return CredentialExpired(reason="tieba_no_session")
        return api.decode_session(await self._fetch(api.encode_session(self._web_url, self._cookies())))

    async def _check_account_status(self) -> Blocked | RateLimited | None:
        """Ask whether anything stands against the account; what cannot be read does not keep a post back."""
        response = await self._fetch(encode_account_status(self._web_url, self._cookies()))
        return response if isinstance(response, RateLimited) else decode_account_status(response, self.account.identity)

    async def _get_forum_id(self) -> int | Blocked | ReadFailure:
        """Look the forum's number up; the one that the operator gave steps in where no answer can be read."""
        found = api.decode_forum(await self._fetch(api.encode_forum(self._web_url, self._forum_name)))
        given = get_configured_forum_id(self.account)
        if isinstance(found, RateLimited):
            return found
        if isinstance(found, Unknown):
            return given or found
        if found == 0:
            return Blocked(code="tieba_no_forum", reason=self._forum_name, hold_reason=HoldReason.PERMISSION)
        if given not in (None, found):
            return Blocked(code="tieba_forum_differs", reason=str(found), hold_reason=HoldReason.PERMISSION)
        return found

    async def _upload_pictures(self, request: SendRequest, tbs: str) -> list[str] | Outcome:
        """Upload the pictures and give their marks; an upload that leads to no thread is harmless."""
        picture_markup = []
        for picture, data in zip(request.rendered.images, request.images, strict=True):
            suffix = _FILE_SUFFIXES.get(picture.media_type, "bin")
            file = Upload(name="chunk", filename=f"picture.{suffix}", media_type=picture.media_type, data=data)
            size = (picture.width, picture.height)
            response = await self._fetch(api.encode_upload(self._web_url, self._cookies(), tbs, file, size))
            number = api.decode_upload(response, self.context.now())
            if not isinstance(number, str):
                return number
            await self.context.failpoint("media.after_upload")
            picture_markup.append(f"#(pic,{number},{picture.width},{picture.height})")
        return picture_markup

    def _cookies(self) -> Mapping[str, str]:
        secret = self.context.secret()
        return {key: secret[key] for key in ("BDUSS", "STOKEN") if secret.get(key)}

    @property
    def _forum_name(self) -> str:
        return self.account.forum or ""

    @property
    def _web_url(self) -> str:
        return (self.account.base_url or api.WEB_URL).rstrip("/")

    @property
    def _app_url(self) -> str:
        return (self.account.base_url or api.APP_URL).rstrip("/")


def _to_preparation_failure(outcome: Outcome) -> Outcome:
    """Judge what failed before the creating call: a doubt there is none, as nothing was created."""
    if not isinstance(outcome, Unknown):
        return outcome
    return NotSent(reason=outcome.reason if outcome.reason in _NOT_CONNECTED_REASONS else "tieba_not_prepared")


def _block_as_hidden(url: str) -> Blocked:
    """Say that a post was taken and nobody sees it: no review will end that, and another one would be hidden too."""
    return Blocked(code="tieba_sent_hidden", reason=url, hold_reason=HoldReason.HIDDEN)


def _to_unread_forum(forum: Blocked | ReadFailure) -> ReadFailure:
    """Say why nothing can be read or taken down without the forum's number."""
    return Unknown(reason=forum.code) if isinstance(forum, Blocked) else forum


def _interpret_deletion(response: HttpResponse | NotSent | ReadFailure) -> DeletionResult:
    body = api.decode_body(response)
    if not isinstance(body, Mapping):
        return api.to_unread(body)
    code = api.get_error_code(body)
    if api.is_captcha_required(body):
        return Rejected(code="tieba_captcha", reason=api.get_error_message(body))
    if code is None:
        return Unknown(reason="bad_response")
    if code == 0 or code in THREAD_GONE_CODES:
        return _DELETION_UNCONFIRMED
    is_final = code in CODES and CODES[code].error_class in _FINAL_ERROR_CLASSES
    return (
        Rejected(code=to_message_key(code), reason=api.get_error_message(body))
        if is_final
        else Unknown(reason=to_message_key(code))
    )


def _get_ticket_tid(ticket: Ticket) -> str | None:
    criteria = post_list.decode_ticket(ticket)
    return criteria if isinstance(criteria, str) else criteria.tid
