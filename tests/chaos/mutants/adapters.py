"""Mistakes in the adapters, in the HTTP layer, and in a process's knowledge of its clock."""

import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from adapters._http import LoginHttp
from adapters.wechat import codes
from adapters.weibo import adapter as weibo
from adapters.weibo import api
from adapters.weibo import post_list as timeline
from adapters.weibo.api import WeiboMatchCriteria, make_receipt
from publisher import contract
from publisher.contract import HttpRequest, HttpResponse
from publisher.domain import post_list
from publisher.domain.post import Marker, SendRequest
from publisher.domain.results import (
    NotSent,
    Outcome,
    Published,
    ReadbackResult,
    Rejected,
    Unknown,
)
from publisher.domain.verification import DISTINCTIVE_PREFIX_CHARS
from publisher.engine import sender
from publisher.runtime.clock import Runtime
from publisher.store.db.intent_journal import CallRecord
from publisher.store.monitor.adapter_state import StoredAdapterState

from .patch import Patch


def clock_always_confirmed(patch: Patch) -> None:
    """The wall clock is taken as it is, at the start and after it was set.

    Breaks I1, I6 (F61), I7 (F08, F25) and I9: a daemon starts with a clock hours ahead. It sends
    posts that are due in hours, and ends posts that are too late by that clock. It also takes the
    visibility window of an unknown outcome for over.
    """
    patch.put(Runtime, "is_clock_confirmed", lambda _runtime: True)
    patch.put(Runtime, "is_clock_proven", lambda _runtime: True)


def draft_not_remembered(patch: Patch) -> None:
    """A WeChat draft is not remembered: each attempt makes its own, unless one is still in the box.

    Breaks I1 and I7 (F07): after a submission with an unknown outcome, `find` no longer asks
    whether the draft was taken. A list that shows late then proves absence, and the next attempt
    submits a second draft.
    """

    async def forget(state: StoredAdapterState, key: str, value: str) -> None:
        if not key.startswith("draft:"):
            await kept(state, key, value)

    kept = patch.put(StoredAdapterState, "set", forget)


def duplicate_is_rejected(patch: Patch) -> None:
    """A platform's word that it has these words already is taken for a refusal of them.

    Breaks I9, I8 and I11 (F37): after `duplicate` the delivery ends `failed` although a copy of it
    is live; nobody reads the account, and the live post belongs to a delivery that is said never to
    have appeared.
    """

    async def call_adapter(call: Awaitable[Outcome], time_limit: timedelta) -> Outcome:
        outcome = await kept(call, time_limit)
        if isinstance(outcome, Unknown) and outcome.is_duplicate:
            return Rejected(code=outcome.reason, reason="duplicate")
        return outcome

    kept = patch.put(sender, "call_adapter", call_adapter)


def first_page_is_whole_list(patch: Patch) -> None:
    """One page of a Weibo account's list counts as the whole, however short, cut or empty it is.

    Breaks I7 (F52, F53): `NotFound` is found in a list that does not reach back past the intent.
    With `empty_list`, `reorder`, or a few posts made by hand after a lost reply, absence is proven
    and the post goes out twice (I1).
    """

    patch.put(timeline, "covers_baseline", lambda *_posts, **_facts: True)


def headers_in_output(patch: Patch) -> None:
    """A call that failed is printed for the operator of the server, with all details.

    Breaks I19: after any trouble on the way (reset, timeout, no connection) the daemon's output
    holds a Weibo account's access token. Its headers are printed past the log, and the log would
    have redacted it.
    """

    async def create(
        http: LoginHttp, call: HttpRequest, request: SendRequest
    ) -> HttpResponse | NotSent | Unknown:
        answer = await kept(http, call, request)
        if not isinstance(answer, HttpResponse):
            sys.stderr.write(f"{call.url} {answer.reason} {dict(call.headers)}\n")
        return answer

    kept = patch.put(LoginHttp, "create", create)


def newest_post_is_ours(patch: Patch) -> None:
    """A readback that does not find the marker takes the newest post since the call for ours.

    Breaks I8, I4 and I9 (F55, F56): a lost call is `published` under the id of another delivery's
    post, or of one that a person made by hand; the text under that id does not carry the delivery's
    marker, and its own never appear.
    """

    def interpret_timeline(
        items: timeline.WeiboPostList,
        criteria: WeiboMatchCriteria,
        uid: str,
        readable: int,
        **facts: bool,
    ) -> ReadbackResult:
        found = kept(items, criteria, uid, readable, **facts)
        free = [
            item for item in items.items if item.remote_id not in criteria.owned_ids
        ]
        fresh = [item for item in free if not criteria.is_before(item)]
        if isinstance(found, Published) or not fresh:
            return found
        newest = max(fresh, key=lambda item: int(item.remote_id))
        return Published(receipt=make_receipt(newest.remote_id, uid, newest.created_at))

    kept = patch.put(weibo, "interpret_timeline", interpret_timeline)


def owner_not_checked(patch: Patch) -> None:
    """The owner of a post in a creating call's answer is not checked: an id is an id.

    Breaks I8 (F38): after `wrong_account` on a Weibo call the delivery is `published` with an id
    that was made on another account. It is not held, and the account goes on.
    """

    def interpret_created(body: api.Json, uid: str) -> Outcome:
        remote_id = api.get_post_id(body)
        if remote_id is None:
            return Unknown(reason="weibo_no_id")
        created_at = api.parse_time(body.get("created_at")) or api.decode_created_at(
            remote_id
        )
        return Published(receipt=make_receipt(remote_id, uid, created_at))

    patch.put(api, "interpret_created", interpret_created)


def retry_after_ignored(patch: Patch) -> None:
    """A Retry-After is not read: every 429 waits as long as our own settings say, and no longer.

    Breaks I15 (F26): after `status` 429 with `Retry-After: 60` the next creating call of that login
    reaches the platform within seconds.
    """

    def parse_retry_after(_header: str | None, _now: datetime) -> datetime | None:
        return None

    patch.put(contract, "parse_retry_after", parse_retry_after)
    patch.put(codes, "parse_retry_after", parse_retry_after)


def _take_for_not_sent(
    patch: Patch, reason: str, is_misread: Callable[[object], bool]
) -> None:
    """Let misread answers to a creating call prove, with `reason`, that nothing was sent.

    The sender believes it.
    """

    async def create(
        http: LoginHttp, call: HttpRequest, request: SendRequest
    ) -> HttpResponse | NotSent | Unknown:
        answer = await kept(http, call, request)
        return NotSent(reason=reason) if is_misread(answer) else answer

    kept = patch.put(LoginHttp, "create", create)
    patch.put(CallRecord, "has_started", lambda *_call: False)


def retry_on_timeout(patch: Patch) -> None:
    """A reply that did not come in time is taken for a call that was not sent, and tried again.

    Breaks I7 and I1 (F21, F23, F24): after `delay`, `drip` or `act_late` on a creating call the
    delivery goes to `retrying` instead of `unknown`, a second call starts with no readback stored,
    and the platform shows it twice.
    """

    _take_for_not_sent(
        patch,
        "timeout",
        lambda answer: isinstance(answer, Unknown) and answer.reason == "timeout",
    )


def server_error_is_not_sent(patch: Patch) -> None:
    """A 5xx answer to a creating call counts as nothing done, and the call is made again.

    Breaks I7 and I1 (F28, F29): `status` 502 with `acts` true leaves a live post behind. The
    delivery goes to `retrying` with the reason `server_error`. The next attempt makes a second post
    without a readback between them.
    """

    _take_for_not_sent(
        patch,
        "server_error",
        lambda answer: isinstance(answer, HttpResponse) and answer.status >= 500,
    )


def short_text_never_matches(patch: Patch) -> None:
    """A list's cut text is taken for another's words: only a text of some length can be like ours.

    Breaks I1 (F54), I8 and I16: a call's reply is lost, and lists show only twenty-odd characters,
    without the marker. Two reads then count as absence. A second copy goes out, or a post to delete
    counts as gone.
    """

    def is_similar(ours: Sequence[str], theirs: Sequence[str], marker: Marker) -> bool:
        return len(" ".join(theirs)) >= DISTINCTIVE_PREFIX_CHARS and kept(
            ours, theirs, marker
        )

    kept = patch.put(post_list, "is_similar", is_similar)
