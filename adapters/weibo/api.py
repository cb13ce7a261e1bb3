"""Weibo's creating calls, and what comes before them, as data. Pure.

Paths, parameters and answers are those of the open platform's wiki (2/statuses/share, update, upload; C/2/statuses/
upload_pic/biz and upload_url_text/biz; Toutiao/api). The token travels in the header that the wiki names
(`Authorization: OAuth2 …`), so that no address ever holds it; articles name it among their parameters only.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.results import (
    Blocked,
    Busy,
    CredentialExpired,
    HoldReason,
    NotSent,
    Outcome,
    Published,
    RateLimited,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)

from .codes import BAD_PARAMETER, CODES, LOGIN_LIMIT_CODES, WeiboErrorClass, to_message_key
from .parse import Json, get_error_code, get_error_message, get_owner_id, get_post_id, parse_object, parse_time, to_int
from .profiles import API_URL, UPDATE, UPLOAD_URL, WeiboProfile
from .urls import decode_created_at, make_receipt

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
