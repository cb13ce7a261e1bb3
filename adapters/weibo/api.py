"""Weibo's creating calls, and the calls before them, as data. Pure.

Paths, parameters and responses are the ones of the open platform's wiki (2/statuses/share, update,
upload; C/2/statuses/ upload_pic/biz and upload_url_text/biz). The token travels in the header that
the wiki names (`Authorization: OAuth2 …`), so that no URL ever holds it. Only articles pass it as a
parameter.

A headline article puts a long text behind a short post (wiki Toutiao/api, 2022-11-29, read
2026-11-25).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from html import escape
from typing import Any
from urllib.parse import quote

from adapters.weibo.capabilities import (
    API_URL,
    UPDATE,
    UPLOAD_URL,
    WeiboProfile,
    get_article_cover_url,
    render_lead,
)
from adapters.weibo.codes import (
    BAD_PARAMETER,
    CODES,
    LOGIN_LIMIT_CODES,
    WeiboErrorClass,
    to_message_key,
)
from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.account import Account
from publisher.domain.post import Baseline, Marker, RenderedPost, SendRequest
from publisher.domain.post_list import MatchCriteria
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    ReadFailure,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
    to_read_failure,
)

_BASE62_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID_EPOCH_SECONDS = 515_483_463
"""Unix time of the zero of the time inside a post's number.

It fits the sample of wiki 2/statuses/share.
"""
_MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
_ARTICLE_FRAGMENT = "#article"
Json = Mapping[str, Any]
ReadResponse = HttpResponse | NotSent | ReadFailure
VISIBLE_AFTER = timedelta(minutes=2)
DEFAULT_COOLDOWN = timedelta(hours=1)
ARTICLE_SUCCESS_CODE = 100_000
RATE_LIMIT_CODE = "weibo_429"
"""The code of an HTTP 429, from Weibo or a proxy."""
_PICTURE_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def render_content(rendered: RenderedPost) -> str:
    """Return the article's HTML: each line of the text is a paragraph."""
    return "".join(
        f"<p>{escape(line)}</p>" for line in rendered.text.splitlines() if line.strip()
    )


def make_receipt(remote_id: str, uid: str, at: datetime) -> Receipt:
    return Receipt(
        remote_id=remote_id,
        url=f"https://weibo.com/{uid}/{encode_short_id(remote_id)}",
        published_at=at,
    )


def make_article_receipt(remote_id: str, uid: str, at: datetime) -> Receipt:
    """Return the receipt of a post that leads to an article.

    Its URL says so, for a later deletion.
    """
    receipt = make_receipt(remote_id, uid, at)
    return replace(receipt, url=f"{receipt.url}{_ARTICLE_FRAGMENT}")


def is_article_receipt(receipt: Receipt) -> bool:
    return receipt.url.endswith(_ARTICLE_FRAGMENT)


def encode_short_id(mid: str) -> str:
    """Return a post's number as its URL has it.

    Groups of seven digits from the right are each in base 62.
    """
    groups: list[str] = []
    for end in range(len(mid), 0, -7):
        number, digits = int(mid[max(end - 7, 0) : end]), ""
        while number:
            number, digit = divmod(number, 62)
            digits = _BASE62_DIGITS[digit] + digits
        groups.insert(0, digits.rjust(4 if end > 7 else 1, "0"))
    return "".join(groups)


def decode_created_at(mid: str) -> datetime:
    """Return the creation time inside a post's number.

    An impossible number gives the end of the calendar.
    """
    return datetime.fromtimestamp(
        min((int(mid) >> 22) + _ID_EPOCH_SECONDS, _MAX_UNIX_SECONDS), UTC
    )


def decode_object(response: ReadResponse) -> Json | ReadFailure:
    """Return the object of a repeatable call's good response, or the failure.

    Codes read `weibo_NUMBER`.
    """
    body = decode_json(response)
    if isinstance(body, ReadFailure):
        return body
    return body if isinstance(body, dict) else Unknown(reason="bad_response")


def decode_json(response: ReadResponse) -> object:
    """Return the JSON of a repeatable call's good response, or the failure."""
    if not isinstance(response, HttpResponse):
        return to_read_failure(response)
    if response.status >= 500:
        return Unknown(reason="server_error")
    body = _parse_json(response)
    code = get_error_code(body if isinstance(body, dict) else None)
    if code is not None:
        return Unknown(reason=to_message_key(code))
    return body if response.status == 200 else Unknown(reason="bad_response")


def get_reason(failure: ReadFailure) -> str:
    """Return the message key of a failure."""
    return failure.code if isinstance(failure, RateLimited) else failure.reason


def parse_object(response: HttpResponse) -> Json | None:
    body = _parse_json(response)
    return body if isinstance(body, dict) else None


def get_error_code(body: Json | None) -> int | None:
    """Return the error code of a response, given there as a number or as text."""
    return to_int(body.get("error_code")) if body else None


def parse_reason_code(reason: str) -> int | None:
    """Return the code that a reason names, if any."""
    return (
        to_int(reason.removeprefix("weibo_")) if reason.startswith("weibo_") else None
    )


def get_error_message(body: Json | None) -> str:
    return str(body.get("error", ""))[:200] if body else ""


def get_post_id(body: Json) -> str | None:
    """Return a post's number; `id` comes last, as clients have rounded it."""
    values = (to_text(body.get(key)) for key in ("idstr", "mid", "id"))
    return next((text for text in values if text and is_number(text)), None)


def get_owner_id(body: Json) -> str | None:
    user = body.get("user")
    if isinstance(user, dict):
        return str(user.get("idstr") or user.get("id") or "") or None
    return to_text(body.get("uid"))


def to_text(value: object) -> str | None:
    """Return a value as text, from a number or a text."""
    text = (
        str(value)
        if isinstance(value, int | str) and not isinstance(value, bool)
        else ""
    )
    return text or None


def to_int(value: object) -> int | None:
    text = to_text(value)
    return int(text) if text and is_number(text) else None


def is_number(text: str) -> bool:
    """True if a text is a number of a size that platforms use."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def parse_time(value: object) -> datetime | None:
    """Parse `Wed Oct 24 23:49:17 +0800 2012`, in any locale of the host."""
    try:
        day, month, date, time, zone, year = str(value).split()
        return parsedate_to_datetime(
            f"{day}, {date} {month} {year} {time} {zone}"
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parse_json(response: HttpResponse) -> object:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboEndpoint:
    """The target of an account's calls, and the token that signs them.

    A `base_url` replaces all of Weibo's hosts.
    """

    profile: WeiboProfile
    base_url: str | None
    token: str = field(repr=False)

    def statuses_url(self, call: str) -> str:
        """Return the URL of one of the profile's calls."""
        return self.build_url(
            self.profile.base_url, f"2/statuses/{call}{self.profile.path_suffix}"
        )

    def build_url(self, host: str, path: str) -> str:
        return f"{(self.base_url or host).rstrip('/')}/{path}"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"OAuth2 {self.token}"}

    def build_get(self, url: str, **query: str) -> HttpRequest:
        return HttpRequest(
            method="GET", url=url, query=tuple(query.items()), headers=self.headers
        )

    def build_post(
        self, url: str, form: Mapping[str, str], picture: Upload | None = None
    ) -> HttpRequest:
        uploads = (picture,) if picture else ()
        return HttpRequest(
            method="POST",
            url=url,
            form=tuple(form.items()),
            uploads=uploads,
            headers=self.headers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PostForm:
    """A plain post.

    `client_ip` is the operator's public IPv4 (`rip`). The marker goes into a hidden annotation too.
    """

    text: str
    marker_code: str
    client_ip: str | None
    is_long: bool = False

    @property
    def form(self) -> dict[str, str]:
        return {"status": self.text, **_client_ip_field(self.client_ip)}

    @property
    def extended_form(self) -> dict[str, str]:
        """The form of calls that take annotations and long texts."""
        annotations = json.dumps(
            [{"type": "publisher", "marker": self.marker_code}], separators=(",", ":")
        )
        return {
            **self.form,
            "annotations": annotations,
            **({"is_longtext": "1"} if self.is_long else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboMatchCriteria(MatchCriteria):
    """How our post is recognised; `is_article` means that it leads to an article."""

    are_ids_ascending: bool = True
    is_article: bool = False


def encode_ticket(request: SendRequest, *, is_article: bool) -> Ticket:
    """Return all data that a later check needs.

    The platform gives no number for a post that is not visible yet.
    """
    facts = {
        "marker": request.marker.code,
        "newest_id": request.baseline.newest_id,
        "since": request.baseline.taken_at.isoformat(),
        **({"article": True} if is_article else {}),
    }
    return Ticket(payload=json.dumps(facts, separators=(",", ":")))


def decode_ticket(ticket: Ticket) -> WeiboMatchCriteria | str:
    """Return the criteria for a post not yet seen, or the plain number of a post that was seen."""
    if not ticket.payload.startswith("{"):
        return ticket.payload
    facts = json.loads(ticket.payload)
    baseline = Baseline(
        newest_id=facts["newest_id"], taken_at=datetime.fromisoformat(facts["since"])
    )
    return WeiboMatchCriteria(
        marker=Marker(code=facts["marker"]),
        baseline=baseline,
        is_article=facts.get("article", False),
    )


def encode_share(
    endpoint: WeiboEndpoint, post_form: PostForm, picture: Upload | None
) -> HttpRequest:
    """Build the one creating call of an ordinary app, with or without a picture."""
    return endpoint.build_post(endpoint.statuses_url("share"), post_form.form, picture)


def encode_update(
    endpoint: WeiboEndpoint, post_form: PostForm, picture: Upload | None
) -> HttpRequest:
    """Build the creating call of an app that was granted `update`.

    A picture makes it `upload`, at another host.
    """
    if picture is None:
        return endpoint.build_post(
            endpoint.statuses_url("update"), post_form.extended_form
        )
    return endpoint.build_post(
        endpoint.build_url(UPLOAD_URL, f"2/statuses/upload{UPDATE.path_suffix}"),
        post_form.extended_form,
        picture,
    )


def encode_multi_picture_post(
    endpoint: WeiboEndpoint, post_form: PostForm, pictures: Sequence[str]
) -> HttpRequest:
    """Build the creating call of the business profile.

    `pictures` are up to nine ids of uploaded pictures.
    """
    if not pictures:
        return endpoint.build_post(
            endpoint.statuses_url("update"), post_form.extended_form
        )
    return endpoint.build_post(
        endpoint.statuses_url("upload_url_text"),
        {**post_form.extended_form, "pic_id": ",".join(pictures)},
    )


def encode_picture(endpoint: WeiboEndpoint, picture: Upload) -> HttpRequest:
    """Upload a picture for a later post; nothing shows it before."""
    return endpoint.build_post(endpoint.statuses_url("upload_pic"), {}, picture)


def encode_article(
    endpoint: WeiboEndpoint, account: Account, rendered: RenderedPost
) -> HttpRequest:
    """Build the call that publishes an article.

    Its content is percent-encoded before the form is, as the page says.
    """
    form = {
        "title": rendered.title,
        "content": quote(render_content(rendered), safe="-_.~"),
        "cover": get_article_cover_url(account) or "",
        "text": render_lead(rendered),
        "access_token": endpoint.token,
        **_client_ip_field(account.public_ip),
    }
    url = endpoint.build_url(API_URL, "proxy/article/publish.json")
    return HttpRequest(method="POST", url=url, form=tuple(form.items()))


def decode_created(
    response: HttpResponse, uid: str, ticket: Ticket, now: datetime
) -> Outcome:
    """Return the outcome of a creating call.

    `ticket` is for a post that was created but is not visible yet.
    """
    body = parse_object(response)
    failure = _interpret_failure(response, body, ticket, now)
    if failure is not None:
        return failure
    return (
        Unknown(reason="bad_response") if body is None else interpret_created(body, uid)
    )


def decode_article(response: HttpResponse, ticket: Ticket, now: datetime) -> Outcome:
    """Return the outcome of an article call.

    It names no account, so the post that leads to it must be seen first.
    """
    body = parse_object(response)
    failure = _interpret_failure(response, body, ticket, now)
    if failure is not None:
        return failure
    code = to_int(body.get("code")) if body else None
    if body is None or code is None:
        return Unknown(reason="bad_response")
    if code != ARTICLE_SUCCESS_CODE:
        return interpret_error(code, str(body.get("msg", ""))[:200], ticket, now)
    return Submitted(ticket=ticket, check_again_at=now + VISIBLE_AFTER)


def decode_picture(
    response: HttpResponse | NotSent | Unknown, now: datetime
) -> str | Outcome:
    """Return the id of an uploaded picture, or the outcome of the attempt.

    The creating call was not made.
    """
    if not isinstance(response, HttpResponse):
        return NotSent(reason=response.reason)
    body = parse_object(response)
    failure = _interpret_failure(response, body, Ticket(payload=""), now)
    if isinstance(failure, Unknown):
        return NotSent(reason=failure.reason)
    if failure is not None and not isinstance(failure, Submitted):
        return failure
    picture_id = body.get("pic_id") if body else None
    if not isinstance(picture_id, str) or not _PICTURE_ID.fullmatch(picture_id):
        return NotSent(reason="bad_response")
    return picture_id


def interpret_error(code: int, message: str, ticket: Ticket, now: datetime) -> Outcome:
    """Return the meaning of an error code for a creating call.

    A code that is not listed makes the outcome unknown.
    """
    listed = CODES.get(code)
    kind = listed.error_class if listed else WeiboErrorClass.UNKNOWN
    if code == BAD_PARAMETER and "appkey" in message:
        kind = WeiboErrorClass.ACCOUNT
    match kind:
        case WeiboErrorClass.REJECTED:
            return Rejected(code=to_message_key(code), reason=message)
        case WeiboErrorClass.HOURLY_LIMIT:
            return RateLimited(code=to_message_key(code), until=get_next_full_hour(now))
        case WeiboErrorClass.COOLDOWN:
            return RateLimited(code=to_message_key(code), until=now + DEFAULT_COOLDOWN)
        case WeiboErrorClass.BUSY:
            return Busy(code=to_message_key(code), reason=message)
        case WeiboErrorClass.CREDENTIAL:
            return CredentialExpired(reason=to_message_key(code))
        case WeiboErrorClass.ACCOUNT | WeiboErrorClass.CAPTCHA:
            return Blocked(
                code=to_message_key(code),
                reason=message,
                hold_reason=HoldReason(kind.value),
            )
        case WeiboErrorClass.ACCEPTED:
            return Submitted(ticket=ticket, check_again_at=now + VISIBLE_AFTER)
        case WeiboErrorClass.DUPLICATE | WeiboErrorClass.UNKNOWN:
            return Unknown(
                reason=to_message_key(code),
                is_duplicate=kind is WeiboErrorClass.DUPLICATE,
            )


def parse_rate_limit(response: HttpResponse, now: datetime) -> RateLimited | None:
    """Return the limit on all calls of the login, if a read or a deletion got one."""
    if response.status == 200 or response.status >= 500:
        return None
    code = get_error_code(parse_object(response))
    if code in LOGIN_LIMIT_CODES:
        return RateLimited(code=to_message_key(code), until=get_next_full_hour(now))
    return response.to_rate_limited(RATE_LIMIT_CODE, now)


def get_next_full_hour(now: datetime) -> datetime:
    """Return the end of the current window; Beijing's hours begin at the UTC hours."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _client_ip_field(address: str | None) -> dict[str, str]:
    return {"rip": address} if address else {}


def _interpret_failure(
    response: HttpResponse, body: Json | None, ticket: Ticket, now: datetime
) -> Outcome | None:
    """Return the outcome of a response that reports an error; None for a good response."""
    if response.status >= 500:
        return Unknown(reason="server_error")
    code = get_error_code(body)
    if code is not None and (code in CODES or response.status != 429):
        return interpret_error(code, get_error_message(body), ticket, now)
    if response.status == 429:
        return response.to_rate_limited(RATE_LIMIT_CODE, now)
    return (
        Unknown(reason="bad_response")
        if body is None or response.status != 200
        else None
    )


def interpret_created(body: Json, uid: str) -> Outcome:
    """Return the outcome of a creating call by the post that its response shows."""
    remote_id, owner = get_post_id(body), get_owner_id(body)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    receipt = make_receipt(
        remote_id,
        owner,
        parse_time(body.get("created_at")) or decode_created_at(remote_id),
    )
    if owner != uid:
        return Blocked(
            code="weibo_wrong_account",
            reason=receipt.url,
            hold_reason=HoldReason.WRONG_ACCOUNT,
        )
    return Published(receipt=receipt)
