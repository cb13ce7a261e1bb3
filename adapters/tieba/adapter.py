"""The adapter of one Tieba account in one forum.

Before a write it reads the account's restrictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.tieba import api, post_list, replies, session
from adapters.tieba.capabilities import get_configured_forum_id
from adapters.tieba.codes import (
    CODES,
    THREAD_GONE_CODES,
    TiebaErrorClass,
    to_message_key,
)
from adapters.tieba.post_list import (
    ThreadQuery,
    TiebaThreadList,
    build_thread_url,
    decode_thread_page,
)
from publisher.contract import AdapterContext, HttpRequest, HttpResponse, Upload
from publisher.domain.account import Account
from publisher.domain.post import Marker, SendRequest
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
"""Threads measured at one time; each costs a call, and hurried reads attract attention."""
THREAD_ONLY_REASONS = frozenset(
    {"tieba_other_page", "tieba_wrong_account", post_list.NO_AUTHOR.reason}
)
"""Reasons that concern one thread and say nothing about the next."""
MAX_PAGES = 10
_FINAL_ERROR_CLASSES = frozenset({
    TiebaErrorClass.REJECTED, TiebaErrorClass.CREDENTIAL, TiebaErrorClass.ACCOUNT,
    TiebaErrorClass.CAPTCHA,
})  # fmt: skip
_DELETION_UNCONFIRMED = Unknown(reason="tieba_deletion_unconfirmed")
"""Tieba reports that a thread is deleted, or does not exist, and no read has shown it yet."""


def decode_reach(
    response: HttpResponse | api.RequestFailure, query: ThreadQuery
) -> Reach | Deleted | ReadFailure:
    """Return a thread's figures as anybody sees them.

    Tieba may or may not count the first post as a reply.
    """
    body = decode_thread_page(response, query)
    if not isinstance(body, Mapping):
        return body
    thread = api.get_object(body, "thread")
    return Reach(
        reads=_find_largest(body.get("thread_freq_num"), thread.get("view_num")),
        reposts=_find_largest(thread.get("share_num")),
        comments=_find_largest(thread.get("reply_num")),
        likes=_find_largest(
            thread.get("agree_num"), api.get_object(thread, "agree").get("agree_num")
        ),
    )


def to_observed_posts(listing: TiebaThreadList, fid: int) -> Sequence[ObservedPost]:
    """Return the threads in one forum that others can see too, newest first."""
    visible = [item for item in listing.items if item.fid == fid and item.is_visible]
    newest = sorted(
        visible, key=lambda item: (item.created_at, int(item.remote_id)), reverse=True
    )
    return [
        ObservedPost(
            remote_id=item.remote_id,
            url=item.url,
            published_at=item.created_at,
            text=f"{item.title}\n{item.text}",
        )
        for item in newest
    ]


def _find_largest(*values: object) -> int | None:
    """Return the largest figure.

    The app's clients read views from one field, the site's from another.
    """
    figures = [
        figure
        for value in values
        if (figure := api.to_int(value)) is not None and figure >= 0
    ]
    return max(figures, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TiebaAdapter:
    account: Account
    context: AdapterContext

    async def publish(self, request: SendRequest) -> Outcome:
        """Create a thread or a reply in it.

        Success is only ever Submitted: an accepted post is not yet visible.
        """
        if not self.account.has_accepted_risk:
            return Blocked(
                code="tieba_risk_not_accepted",
                reason=self.account.id,
            )
        tid = replies.get_thread_id(request.parent) if request.part else None
        if request.part and tid is None:
            return Rejected(
                code="tieba_thread_id_unknown",
                reason=request.parent.url if request.parent else "",
            )
        tbs = await self._get_session_token()
        if not isinstance(tbs, str):
            return _to_preparation_failure(tbs)
        blocked = await self._check_account_status()
        if blocked is not None:
            return blocked
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_preparation_failure(fid)
        if tid is None:
            return await self._publish_thread(request, fid, tbs)
        return await self._publish_reply(request, fid, tbs, tid)

    async def _publish_thread(
        self, request: SendRequest, fid: int, tbs: str
    ) -> Outcome:
        """Upload the pictures and create the thread.

        An upload that leads to no thread is harmless.
        """
        lines = [request.text]
        for picture, data in zip(request.rendered.images, request.images, strict=True):
            name = f"picture.{picture.file_suffix}"
            file = Upload(
                name="chunk", filename=name, media_type=picture.media_type, data=data
            )
            upload = api.encode_upload(
                self._web_url,
                self._cookies(),
                tbs,
                file,
                (picture.width, picture.height),
            )
            number = api.decode_upload(await self._fetch(upload), self.context.now())
            if not isinstance(number, str):
                return _to_preparation_failure(number)
            await self.context.failpoint("media.after_upload")
            lines.append(f"#(pic,{number},{picture.width},{picture.height})")
        if (
            request.images
        ):  # uploads take time, and how long a token is valid is not published
            fresh = await self._get_session_token()
            if not isinstance(fresh, str):
                return _to_preparation_failure(fresh)
            tbs = fresh
        content = "\r\n".join(lines)
        form = api.ThreadForm(
            forum=self._forum_name,
            fid=fid,
            title=request.rendered.title,
            content=content,
        )
        response = await self.context.http.create(
            api.encode_thread(self._web_url, self._cookies(), tbs, form), request
        )
        if not isinstance(response, HttpResponse):
            return response
        now = self.context.now()
        review_ticket = post_list.encode_ticket(post_list.make_criteria(request))
        created = api.decode_created(response, "tid", review_ticket, now)
        if not isinstance(created, api.CreatedPost):
            return created
        if created.is_hidden:
            return _block_as_hidden(build_thread_url(created.post_id))
        ticket = post_list.encode_ticket(
            post_list.make_criteria(request, created.post_id)
        )
        return Submitted(ticket=ticket, check_again_at=now + api.VISIBLE_AFTER)

    async def _publish_reply(
        self, request: SendRequest, fid: int, tbs: str, tid: str
    ) -> Outcome:
        form = replies.ReplyForm(
            forum=self._forum_name, fid=fid, tid=tid, content=request.text
        )
        response = await self.context.http.create(
            replies.encode_reply(self._web_url, self._cookies(), tbs, form), request
        )
        if not isinstance(response, HttpResponse):
            return response
        now = self.context.now()
        created = replies.decode_reply(
            response, replies.make_criteria(request, tid), now
        )
        if not isinstance(created, api.CreatedPost):
            return created
        if created.is_hidden:
            return _block_as_hidden(replies.build_reply_url(tid, created.post_id))
        ticket = replies.encode_ticket(
            replies.make_criteria(request, tid, created.post_id)
        )
        return Submitted(ticket=ticket, check_again_at=now + api.VISIBLE_AFTER)

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Look for a thread or reply as anybody sees it.

        A plain thread number reads that thread: published or deleted. A thread in review has no
        number until the account's own list shows it; the result then carries a ticket with the
        number.
        """
        if (reply := replies.decode_ticket(ticket)) is not None:
            return await self._find_reply(reply)
        criteria = post_list.decode_ticket(ticket)
        if isinstance(criteria, str):
            return await self._read_thread(criteria, None)
        if criteria.tid is not None:
            return await self._check_known_thread(criteria, criteria.tid)
        found = await self._find_in_lists(criteria)
        known = (
            post_list.decode_ticket(found.ticket)
            if isinstance(found, Submitted)
            else None
        )
        if (
            not isinstance(found, Submitted)
            or not isinstance(known, post_list.ThreadMatchCriteria)
            or not known.tid
        ):
            return found
        seen = await self._check_known_thread(criteria, known.tid)
        if isinstance(seen, Published):
            return seen
        return Submitted(
            ticket=found.ticket,
            check_again_at=self.context.now() + api.REVIEW_CHECK_INTERVAL,
        )

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        if not request.part:
            return await self._find_in_lists(post_list.make_criteria(request))
        tid = replies.get_thread_id(request.parent)
        if tid is None:
            return Unknown(reason="tieba_thread_id_unknown")
        return await self._find_reply(replies.make_criteria(request, tid))

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete the thread.

        It counts as deleted once a read shows that nobody can see it any more.
        """
        tbs = await self._get_session_token()
        if not isinstance(tbs, str):
            return api.to_unread(tbs)
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_unread_forum(fid)
        thread = (receipt.remote_id, self._forum_name, fid)
        request = api.encode_delete(
            self._app_url, self.context.secret().get("BDUSS", ""), tbs, thread
        )
        deletion = interpret_deletion(await self._fetch(request))
        if deletion != _DELETION_UNCONFIRMED:
            return deletion
        shown = await self._read_thread(receipt.remote_id, None)
        return _DELETION_UNCONFIRMED if isinstance(shown, Published) else shown

    async def check_health(self) -> HealthCheckResult:
        tbs = await self._get_session_token()
        if not isinstance(tbs, str):
            return tbs
        status = await self._fetch(
            session.encode_account_status(self._web_url, self._cookies())
        )
        if isinstance(status, RateLimited):
            return status
        if (
            blocked := session.decode_account_status(status, self.account.identity)
        ) is not None:
            return blocked
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return fid
        named = await self._fetch_session_name(status)
        if isinstance(named, RateLimited):
            return named
        blocked = session.decode_account_status(named, self.account.identity)
        return (
            blocked
            or session.find_unnamed(named, self.account.identity)
            or Healthy(identity=session.decode_portrait(named))
        )

    async def fetch_time(self) -> object:
        return await self.context.http.fetch_date(self._web_url)

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        """Read up to MAX_MEASURED_THREADS threads one by one, as anybody sees them.

        A failure ends the loop.
        """
        metrics: dict[str, Reach] = {}
        for receipt in receipts[:MAX_MEASURED_THREADS]:
            query = post_list.ThreadQuery(
                tid=receipt.remote_id, marker=None, identity=self.account.identity
            )
            response = await self._fetch(
                api.encode_page(self._web_url, receipt.remote_id)
            )
            reach = decode_reach(response, query)
            if isinstance(reach, Reach):
                metrics[receipt.remote_id] = reach
            elif isinstance(reach, RateLimited):
                return reach
            elif isinstance(reach, Unknown) and reach.reason not in THREAD_ONLY_REASONS:
                return metrics or reach
        return metrics

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        fid = await self._get_forum_id()
        if not isinstance(fid, int):
            return _to_unread_forum(fid)
        page = await self._list_own_threads(1)
        if isinstance(page, ReadFailure):
            return page
        # one left out is not gone
        return post_list.NO_AUTHOR if page.has_unnamed else to_observed_posts(page, fid)

    async def _find_reply(self, criteria: replies.ReplyMatchCriteria) -> ReadbackResult:
        """Read the thread author's own replies, page by page, as anybody sees them."""
        query = post_list.ThreadQuery(
            tid=criteria.tid, marker=None, identity=self.account.identity
        )
        pages: list[replies.ReplyPage] = []
        for number in range(1, MAX_PAGES + 1):
            request = api.encode_page(
                self._web_url, criteria.tid, number, is_own_only=True
            )
            page = replies.decode_replies(await self._fetch(request), query)
            if isinstance(page, ReadFailure):
                return page
            pages.append(page)
            if page.is_last:
                break
        return replies.interpret_replies(pages, criteria, self.context.now())

    async def _check_known_thread(
        self, criteria: post_list.ThreadMatchCriteria, tid: str
    ) -> ReadbackResult:
        page = await self._read_thread(tid, criteria.marker)
        # nobody sees it; whether in review, hidden or deleted is not known
        if isinstance(page, Deleted):
            return NotFound(covered_since=criteria.baseline.taken_at)
        return page

    async def _read_thread(
        self, tid: str, marker: Marker | None
    ) -> Published | Deleted | ReadFailure:
        response = await self._fetch(api.encode_page(self._web_url, tid))
        query = post_list.ThreadQuery(
            tid=tid, marker=marker, identity=self.account.identity
        )
        return post_list.interpret_page(response, query, self.context.now())

    async def _find_in_lists(
        self, criteria: post_list.ThreadMatchCriteria
    ) -> ReadbackResult:
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
                or post_list.reaches_baseline(
                    post_list.join_pages(pages), criteria.baseline
                )
            ):
                break
        return post_list.interpret_thread_list(
            post_list.join_pages(pages), criteria, fid, self.context.now()
        )

    async def _list_own_threads(
        self, number: int
    ) -> post_list.TiebaThreadList | ReadFailure:
        """Read one page of the account's own list.

        In it the site gives an author's number and no name.
        """
        identity = self.account.identity
        response = await self._fetch(
            api.encode_own_threads(self._web_url, self._cookies(), identity, number)
        )
        page = post_list.decode_own_threads(response, identity)
        if isinstance(page, ReadFailure) or not page.has_unnamed:
            return page
        own_number = await self._get_own_number()
        if isinstance(own_number, RateLimited):
            return own_number
        return post_list.decode_own_threads(response, identity, own_number)

    async def _get_own_number(self) -> int | RateLimited | None:
        """Return the account's number, as the site once gave it with the identity.

        Return None if it does not.
        """
        key = f"number:{self.account.identity}"
        known = await self.context.state.get(key)
        if known is not None:
            return int(known)
        status = await self._fetch(
            session.encode_account_status(self._web_url, self._cookies())
        )
        response = await self._fetch_session_name(status)
        if isinstance(response, RateLimited):
            return response
        number = session.decode_own_number(response, self.account.identity)
        if number is not None:
            await self.context.state.set(key, str(number))
        return number

    async def _fetch_session_name(
        self, status: HttpResponse | api.RequestFailure
    ) -> HttpResponse | NotSent | ReadFailure:
        """Return the status if it names the session's user, else the app's sign-in response.

        The app's sign-in names it.
        """
        if session.find_unnamed(status, self.account.identity) != session.UNNAMED:
            return status
        return await self._fetch(
            api.encode_sign_in(self._app_url, self.context.secret().get("BDUSS", ""))
        )

    async def _fetch(
        self, request: HttpRequest
    ) -> HttpResponse | NotSent | ReadFailure:
        """Make a call that creates nothing; return RateLimited if the platform limits the login."""
        response = await self.context.http.fetch(request)
        limit = (
            api.parse_rate_limit(response, self.context.now())
            if isinstance(response, HttpResponse)
            else None
        )
        return limit or response

    async def _get_session_token(self) -> str | CredentialExpired | ReadFailure:
        if not self.context.secret().get("BDUSS"):
            return CredentialExpired(reason="tieba_no_session")
        return api.decode_session(
            await self._fetch(api.encode_session(self._web_url, self._cookies()))
        )

    async def _check_account_status(self) -> Blocked | RateLimited | None:
        """Return the block of the account, if any.

        A response that cannot be read does not stop a post.
        """
        response = await self._fetch(
            session.encode_account_status(self._web_url, self._cookies())
        )
        return (
            response
            if isinstance(response, RateLimited)
            else session.decode_account_status(response, self.account.identity)
        )

    async def _get_forum_id(self) -> int | Blocked | ReadFailure:
        """Look up the forum's number; the configured one is used where no response can be read."""
        found = api.decode_forum(
            await self._fetch(api.encode_forum(self._web_url, self._forum_name))
        )
        configured = get_configured_forum_id(self.account)
        if isinstance(found, RateLimited):
            return found
        if isinstance(found, Unknown):
            return configured or found
        if found == 0:
            return Blocked(
                code="tieba_no_forum",
                reason=self._forum_name,
            )
        if configured not in (None, found):
            return Blocked(
                code="tieba_forum_differs",
                reason=str(found),
            )
        return found

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
    """Return the outcome of a failure before the creating call.

    It is never Unknown, as nothing was created.
    """
    return NotSent(reason=outcome.reason) if isinstance(outcome, Unknown) else outcome


def _block_as_hidden(url: str) -> Blocked:
    """Return the outcome of a post that nobody sees.

    No review will end that, and another post would be hidden too.
    """
    return Blocked(code="tieba_sent_hidden", reason=url, hold_reason=HoldReason.HIDDEN)


def _to_unread_forum(forum: Blocked | ReadFailure) -> ReadFailure:
    """Return why nothing can be read or deleted without the forum's number."""
    return Unknown(reason=forum.code) if isinstance(forum, Blocked) else forum


def interpret_deletion(
    response: HttpResponse | NotSent | ReadFailure,
) -> DeletionResult:
    """Return the result of a deletion call.

    It is _DELETION_UNCONFIRMED if a read has to confirm it.
    """
    body = api.decode_body(response)
    if not isinstance(body, Mapping):
        return api.to_unread(body)
    code, message = api.get_error_code(body), api.get_error_message(body)
    if api.is_captcha_required(body):
        return Rejected(code="tieba_captcha", reason=message)
    if code is None:
        return Unknown(reason="bad_response")
    if code == 0 or code in THREAD_GONE_CODES:
        return _DELETION_UNCONFIRMED
    if code in CODES and CODES[code].error_class in _FINAL_ERROR_CLASSES:
        return Rejected(code=to_message_key(code), reason=message)
    return Unknown(reason=to_message_key(code))
