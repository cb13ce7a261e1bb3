"""Weibo's creating calls, and what comes before them, as data. Pure.

Paths, parameters and answers are those of the open platform's wiki (2/statuses/share, update, upload; C/2/statuses/
upload_pic/biz and upload_url_text/biz; Toutiao/api). The token travels in the header that the wiki names
(`Authorization: OAuth2 …`), so that no address ever holds it; articles name it among their parameters only.

Headline articles: long words behind a short post (wiki Toutiao/api, 2022-11-29, read 2026-11-25). Pure.
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

from adapters.weibo.capabilities import get_post_limit, measure
from adapters.weibo.codes import BAD_PARAMETER, CODES, LOGIN_LIMIT_CODES, WeiboErrorClass, to_message_key
from adapters.weibo.profiles import API_URL, UPDATE, UPLOAD_URL, WeiboProfile, get_article_cover_url
from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.account import Account
from publisher.domain.rendered import RenderedPost
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

MAX_TITLE_LENGTH = 32
MAX_LEAD_LENGTH = 1900
"""The page's limit for the post that leads to an article, in characters."""


def is_article(account: Account, rendered: RenderedPost) -> bool:
    """Whether the words go out as an article: where the account writes them, and a plain post cannot hold them."""
    return get_article_cover_url(account) is not None and measure(rendered.text) > get_post_limit(account)


def render_lead(rendered: RenderedPost) -> str:
    """Give the post that leads to the article: its first lines up to the marker, then the link."""
    lines: list[str] = []
    for line in rendered.text.splitlines():
        lines.append(line)
        if rendered.marker.is_in("\n".join(lines)):
            break
    words = "\n".join(lines)
    return words if not rendered.link or rendered.link in words else f"{words} {rendered.link}"


def render_content(rendered: RenderedPost) -> str:
    """Give the article itself: each line of the text is a paragraph."""
    return "".join(f"<p>{escape(line)}</p>" for line in rendered.text.splitlines() if line.strip())


_BASE62_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID_EPOCH_SECONDS = 515_483_463
"""Seconds between 1970 and the zero of the time inside a post's number; fits the sample of wiki 2/statuses/share."""
_MAX_UNIX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""
_ARTICLE_FRAGMENT = "#article"


def make_receipt(remote_id: str, uid: str, at: datetime) -> Receipt:
    return Receipt(remote_id=remote_id, url=f"https://weibo.com/{uid}/{encode_short_id(remote_id)}", published_at=at)


def make_article_receipt(remote_id: str, uid: str, at: datetime) -> Receipt:
    """Give the receipt of a post that leads to an article; its address says so, for whoever takes it down."""
    found = make_receipt(remote_id, uid, at)
    return replace(found, url=f"{found.url}{_ARTICLE_FRAGMENT}")


def is_article_receipt(receipt: Receipt) -> bool:
    return receipt.url.endswith(_ARTICLE_FRAGMENT)


def encode_short_id(mid: str) -> str:
    """Spell a post's number as its address does: groups of seven digits from the right, each in base 62."""
    ends = range(len(mid), 0, -7)
    groups = [_to_base62(int(mid[max(end - 7, 0) : end])) for end in ends]
    padded = [group.rjust(4, "0") for group in groups[:-1]] + groups[-1:]
    return "".join(reversed(padded))


def decode_created_at(mid: str) -> datetime:
    """Read the second at which a post was made out of its number; a senseless number gives the end of the calendar."""
    return datetime.fromtimestamp(min((int(mid) >> 22) + _ID_EPOCH_SECONDS, _MAX_UNIX_SECONDS), UTC)


def _to_base62(number: int) -> str:
    letters = ""
    while number:
        number, digit = divmod(number, 62)
        letters = _BASE62_DIGITS[digit] + letters
    return letters or "0"


Json = Mapping[str, Any]


def decode_object(response: HttpResponse | NotSent | ReadFailure) -> Json | ReadFailure:
    """Give the good answer of a call that may be repeated, or why there is none; codes read `weibo_NUMBER`."""
    body = decode_json(response)
    if isinstance(body, ReadFailure):
        return body
    return body if isinstance(body, dict) else Unknown(reason="bad_response")


def decode_list(response: HttpResponse | NotSent | ReadFailure) -> list[object] | ReadFailure:
    """Give the good answer of a call that answers with a list, or why there is none."""
    body = decode_json(response)
    if isinstance(body, ReadFailure):
        return body
    return body if isinstance(body, list) else Unknown(reason="bad_response")


def decode_json(response: HttpResponse | NotSent | ReadFailure) -> object:
    if not isinstance(response, HttpResponse):
        return to_read_failure(response)
    body = _parse_json(response)
    code = get_error_code(body if isinstance(body, dict) else None)
    if code is not None:
        return Unknown(reason=to_message_key(code))
    if response.status >= 500:
        return Unknown(reason="server_error")
    return body if response.status == 200 else Unknown(reason="bad_response")


def get_reason(trouble: ReadFailure) -> str:
    """Give the key of the words that say why an answer brings nothing."""
    return trouble.code if isinstance(trouble, RateLimited) else trouble.reason


def parse_object(response: HttpResponse) -> Json | None:
    body = _parse_json(response)
    return body if isinstance(body, dict) else None


def get_error_code(body: Json | None) -> int | None:
    """Give the error code of an answer, which comes as a number or as text."""
    return to_int(body.get("error_code")) if body else None


def parse_reason_code(reason: str) -> int | None:
    """Give the code that a reason names, where it names one."""
    return to_int(reason.removeprefix("weibo_")) if reason.startswith("weibo_") else None


def get_error_message(body: Json | None) -> str:
    return str(body.get("error", ""))[:200] if body else ""


def get_post_id(body: Json) -> str | None:
    """Give a post's number; `id` comes last, as clients have rounded it."""
    found = (to_text(body.get(key)) for key in ("idstr", "mid", "id"))
    return next((text for text in found if text and is_number(text)), None)


def get_owner_id(body: Json) -> str | None:
    user = body.get("user")
    if isinstance(user, dict):
        return str(user.get("idstr") or user.get("id") or "") or None
    return to_text(body.get("uid"))


def to_text(value: object) -> str | None:
    """Spell what comes as a number or as text."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text or None


def to_int(value: object) -> int | None:
    text = to_text(value)
    return int(text) if text and is_number(text) else None


def is_number(text: str) -> bool:
    """Whether a text is a number of a size that platforms use."""
    return text.isascii() and text.isdigit() and len(text) <= 20


def parse_time(value: object) -> datetime | None:
    """Read `Wed Oct 24 23:49:17 +0800 2012`, whatever language the host speaks."""
    try:
        day, month, date, time, zone, year = str(value).split()
        return parsedate_to_datetime(f"{day}, {date} {month} {year} {time} {zone}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _parse_json(response: HttpResponse) -> object:
    try:
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


VISIBLE_AFTER = timedelta(minutes=2)
DEFAULT_COOLDOWN = timedelta(hours=1)
ARTICLE_SUCCESS_CODE = 100_000
RATE_LIMIT_CODE = "weibo_429"
"""The code of a 429, from Weibo or something in between."""
_PICTURE_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeiboEndpoint:
    """Where an account's calls go, and the token that signs them. A `base_url` stands for all of Weibo's hosts."""

    profile: WeiboProfile
    base_url: str | None
    token: str = field(repr=False)

    def statuses_url(self, call: str) -> str:
        """Give the address of one of the profile's calls."""
        return self.build_url(self.profile.base_url, f"2/statuses/{call}{self.profile.path_suffix}")

    def build_url(self, host: str, path: str) -> str:
        return f"{(self.base_url or host).rstrip('/')}/{path}"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"OAuth2 {self.token}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostForm:
    """What is said. `address` is the operator's public IPv4 (`rip`), `note` a word that stays with the post unseen."""

    text: str
    marker_code: str
    client_ip: str | None
    is_long: bool = False

    @property
    def form(self) -> dict[str, str]:
        return {"status": self.text, **_client_ip_field(self.client_ip)}

    @property
    def extended_form(self) -> dict[str, str]:
        """Give the form of calls that take annotations and long texts."""
        note = json.dumps([{"type": "publisher", "marker": self.marker_code}], separators=(",", ":"))
        return {**self.form, "annotations": note, **({"is_longtext": "1"} if self.is_long else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleForm:
    """An article: its title, its HTML, the address of the picture on top, and the post that leads to it."""

    title: str
    content: str
    cover: str
    lead: str
    client_ip: str | None


def encode_share(endpoint: WeiboEndpoint, post_form: PostForm, picture: Upload | None) -> HttpRequest:
    """Make the one creating call of an ordinary app; a picture goes along."""
    return _build_request(endpoint, endpoint.statuses_url("share"), post_form.form, picture)


def encode_update(endpoint: WeiboEndpoint, post_form: PostForm, picture: Upload | None) -> HttpRequest:
    """Make the creating call of an app that was granted `update`; a picture makes it `upload`, at a host of its own."""
    if picture is None:
        return _build_request(endpoint, endpoint.statuses_url("update"), post_form.extended_form)
    return _build_request(
        endpoint,
        endpoint.build_url(UPLOAD_URL, f"2/statuses/upload{UPDATE.path_suffix}"),
        post_form.extended_form,
        picture,
    )


def encode_multi_picture_post(endpoint: WeiboEndpoint, post_form: PostForm, pictures: Sequence[str]) -> HttpRequest:
    """Make the creating call of the business calls; `pictures` are numbers of uploaded ones, up to nine."""
    if not pictures:
        return _build_request(endpoint, endpoint.statuses_url("update"), post_form.extended_form)
    return _build_request(
        endpoint, endpoint.statuses_url("upload_url_text"), {**post_form.extended_form, "pic_id": ",".join(pictures)}
    )


def encode_picture(endpoint: WeiboEndpoint, picture: Upload) -> HttpRequest:
    """Store a picture for a post to come; nothing shows it before."""
    return _build_request(endpoint, endpoint.statuses_url("upload_pic"), {}, picture)


def encode_article(endpoint: WeiboEndpoint, article_form: ArticleForm) -> HttpRequest:
    """Make the call that publishes an article. Its content is percent-encoded before the form is, as the page says."""
    form = {
        "title": article_form.title,
        "content": quote(article_form.content, safe="-_.~"),
        "cover": article_form.cover,
        "text": article_form.lead,
        "access_token": endpoint.token,
        **_client_ip_field(article_form.client_ip),
    }
    return HttpRequest(method="POST", url=endpoint.build_url(API_URL, "proxy/article/publish.json"), form=form)


def decode_created(response: HttpResponse, uid: str, ticket: Ticket, now: datetime) -> Outcome:
    """Read the answer to a creating call; `ticket` is handed out where the post is made but not visible yet."""
    body = parse_object(response)
    trouble = _interpret_failure(response, body, ticket, now)
    if trouble is not None:
        return trouble
    return Unknown(reason="bad_response") if body is None else _interpret_created(body, uid)


def decode_article(response: HttpResponse, ticket: Ticket, now: datetime) -> Outcome:
    """Read the answer to an article. It does not say whose it is, so the post that leads to it must be seen first."""
    body = parse_object(response)
    trouble = _interpret_failure(response, body, ticket, now)
    if trouble is not None:
        return trouble
    code = to_int(body.get("code")) if body else None
    if body is None or code is None:
        return Unknown(reason="bad_response")
    if code != ARTICLE_SUCCESS_CODE:
        return interpret_error(code, str(body.get("msg", ""))[:200], ticket, now)
    return Submitted(ticket=ticket, check_again_at=now + VISIBLE_AFTER)


def decode_picture(response: HttpResponse | NotSent | Unknown, now: datetime) -> str | Outcome:
    """Read the number of a stored picture. Whatever went wrong, the creating call was not made."""
    if not isinstance(response, HttpResponse):
        return NotSent(reason=response.reason)
    body = parse_object(response)
    trouble = _interpret_failure(response, body, Ticket(payload=""), now)
    if isinstance(trouble, Unknown):
        return NotSent(reason=trouble.reason)
    if trouble is not None and not isinstance(trouble, Submitted):
        return trouble
    stored = body.get("pic_id") if body else None
    return stored if isinstance(stored, str) and _PICTURE_ID.fullmatch(stored) else NotSent(reason="bad_response")


def interpret_error(code: int, message: str, ticket: Ticket, now: datetime) -> Outcome:
    """Say what an error code means for a creating call; one that is not listed is a doubt."""
    listed = CODES.get(code)
    kind = listed.error_class if listed else WeiboErrorClass.UNKNOWN
    if code == BAD_PARAMETER and "appkey" in message:
        kind = WeiboErrorClass.PERMISSION
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
        case WeiboErrorClass.ACCOUNT | WeiboErrorClass.PERMISSION | WeiboErrorClass.CAPTCHA:
            return Blocked(code=to_message_key(code), reason=message, hold_reason=HoldReason(kind.value))
        case WeiboErrorClass.ACCEPTED:
            return Submitted(ticket=ticket, check_again_at=now + VISIBLE_AFTER)
        case WeiboErrorClass.DUPLICATE | WeiboErrorClass.UNKNOWN:
            return Unknown(reason=to_message_key(code), is_duplicate=kind is WeiboErrorClass.DUPLICATE)


def parse_rate_limit(response: HttpResponse, now: datetime) -> RateLimited | None:
    """Give the limit that keeps back every call of the login, if a read or a removal was answered with one."""
    if response.status == 200:
        return None
    code = get_error_code(parse_object(response))
    return (
        RateLimited(code=to_message_key(code), until=get_next_full_hour(now))
        if code in LOGIN_LIMIT_CODES
        else response.to_rate_limited(RATE_LIMIT_CODE, now)
    )


def get_next_full_hour(now: datetime) -> datetime:
    """Give the end of the present window; Beijing's hours begin when those of UTC do."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _build_request(
    endpoint: WeiboEndpoint, url: str, form: dict[str, str], picture: Upload | None = None
) -> HttpRequest:
    return HttpRequest(
        method="POST", url=url, form=form, uploads=(picture,) if picture else (), headers=endpoint.headers
    )


def _client_ip_field(address: str | None) -> dict[str, str]:
    return {"rip": address} if address else {}


def _interpret_failure(response: HttpResponse, body: Json | None, ticket: Ticket, now: datetime) -> Outcome | None:
    """Say what an answer other than a good one means."""
    if response.status >= 500:
        return Unknown(reason="server_error")
    code = get_error_code(body)
    if code is not None and (code in CODES or response.status != 429):
        return interpret_error(code, get_error_message(body), ticket, now)
    if response.status == 429:
        return response.to_rate_limited(RATE_LIMIT_CODE, now)
    return Unknown(reason="bad_response") if body is None or response.status != 200 else None


def _interpret_created(body: Json, uid: str) -> Outcome:
    remote_id, owner = get_post_id(body), get_owner_id(body)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    made = make_receipt(remote_id, owner, parse_time(body.get("created_at")) or decode_created_at(remote_id))
    if owner != uid:
        return Blocked(code="weibo_wrong_account", reason=made.url, hold_reason=HoldReason.WRONG_ACCOUNT)
    return Published(receipt=made)
