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

from publisher.contract import Call, Reply, Upload
from publisher.domain.outcome import (
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

from .address import made_at, receipt
from .codes import BAD_PARAMETER, CODES, OF_LOGIN, Kind, name
from .fields import Json, error_code, id_of, moment, object_of, owner_of, whole, words_of
from .profiles import API, UPDATE, UPLOAD, Profile

SHOWN_AFTER = timedelta(minutes=2)
REST = timedelta(hours=1)
ARTICLE_DONE = 100_000
LIMIT = "weibo_429"
"""The code of a 429, from Weibo or something in between."""
_PICTURE = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where an account's calls go, and the token that signs them. A `base_url` stands for all of Weibo's hosts."""

    profile: Profile
    base_url: str | None
    token: str = field(repr=False)

    def statuses(self, call: str) -> str:
        """Give the address of one of the profile's calls."""
        return self.at(self.profile.host, f"2/statuses/{call}{self.profile.suffix}")

    def at(self, host: str, path: str) -> str:
        return f"{(self.base_url or host).rstrip('/')}/{path}"

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"OAuth2 {self.token}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What is said. `address` is the operator's public IPv4 (`rip`), `note` a word that stays with the post unseen."""

    text: str
    note: str
    address: str | None
    is_long: bool = False

    @property
    def form(self) -> dict[str, str]:
        return {"status": self.text, **_from(self.address)}

    @property
    def noted_form(self) -> dict[str, str]:
        """Give the form of calls that take annotations and long texts."""
        note = json.dumps([{"type": "publisher", "marker": self.note}], separators=(",", ":"))
        return {**self.form, "annotations": note, **({"is_longtext": "1"} if self.is_long else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleWords:
    """An article: its title, its HTML, the address of the picture on top, and the post that leads to it."""

    title: str
    content: str
    cover: str
    lead: str
    address: str | None


def encode_share(site: Site, words: Words, picture: Upload | None) -> Call:
    """Make the one creating call of an ordinary app; a picture goes along."""
    return _post(site, site.statuses("share"), words.form, picture)


def encode_update(site: Site, words: Words, picture: Upload | None) -> Call:
    """Make the creating call of an app that was granted `update`; a picture makes it `upload`, at a host of its own."""
    if picture is None:
        return _post(site, site.statuses("update"), words.noted_form)
    return _post(site, site.at(UPLOAD, f"2/statuses/upload{UPDATE.suffix}"), words.noted_form, picture)


def encode_gallery(site: Site, words: Words, pictures: Sequence[str]) -> Call:
    """Make the creating call of the business calls; `pictures` are numbers of uploaded ones, up to nine."""
    if not pictures:
        return _post(site, site.statuses("update"), words.noted_form)
    return _post(site, site.statuses("upload_url_text"), {**words.noted_form, "pic_id": ",".join(pictures)})


def encode_picture(site: Site, picture: Upload) -> Call:
    """Store a picture for a post to come; nothing shows it before."""
    return _post(site, site.statuses("upload_pic"), {}, picture)


def encode_article(site: Site, words: ArticleWords) -> Call:
    """Make the call that publishes an article. Its content is percent-encoded before the form is, as the page says."""
    form = {
        "title": words.title,
        "content": quote(words.content, safe="-_.~"),
        "cover": words.cover,
        "text": words.lead,
        "access_token": site.token,
        **_from(words.address),
    }
    return Call(method="POST", url=site.at(API, "proxy/article/publish.json"), form=form)


def decode_created(reply: Reply, uid: str, ticket: Ticket, now: datetime) -> Outcome:
    """Read the answer to a creating call; `ticket` is handed out where the post is made but not visible yet."""
    body = object_of(reply)
    trouble = _trouble(reply, body, ticket, now)
    if trouble is not None:
        return trouble
    return Unknown(reason="bad_reply") if body is None else _published(body, uid)


def decode_article(reply: Reply, ticket: Ticket, now: datetime) -> Outcome:
    """Read the answer to an article. It does not say whose it is, so the post that leads to it must be seen first."""
    body = object_of(reply)
    trouble = _trouble(reply, body, ticket, now)
    if trouble is not None:
        return trouble
    code = whole(body.get("code")) if body else None
    if body is None or code is None:
        return Unknown(reason="bad_reply")
    if code != ARTICLE_DONE:
        return refusal(code, str(body.get("msg", ""))[:200], ticket, now)
    return Submitted(ticket=ticket, look_again_at=now + SHOWN_AFTER)


def decode_picture(reply: Reply | NotSent | Unknown, now: datetime) -> str | Outcome:
    """Read the number of a stored picture. Whatever went wrong, the creating call was not made."""
    if not isinstance(reply, Reply):
        return NotSent(reason=reply.reason)
    body = object_of(reply)
    trouble = _trouble(reply, body, Ticket(number=""), now)
    if isinstance(trouble, Unknown):
        return NotSent(reason=trouble.reason)
    if trouble is not None and not isinstance(trouble, Submitted):
        return trouble
    stored = body.get("pic_id") if body else None
    return stored if isinstance(stored, str) and _PICTURE.fullmatch(stored) else NotSent(reason="bad_reply")


def refusal(code: int, words: str, ticket: Ticket, now: datetime) -> Outcome:
    """Say what an error code means for a creating call; one that is not listed is a doubt."""
    listed = CODES.get(code)
    kind = listed.kind if listed else Kind.DOUBT
    if code == BAD_PARAMETER and "appkey" in words:
        kind = Kind.PERMISSION
    match kind:
        case Kind.REFUSED:
            return Rejected(code=name(code), reason=words)
        case Kind.NEXT_HOUR:
            return RateLimited(code=name(code), until=next_full_hour(now))
        case Kind.REST:
            return RateLimited(code=name(code), until=now + REST)
        case Kind.BUSY:
            return Busy(code=name(code), reason=words)
        case Kind.SIGN_IN:
            return CredentialExpired(reason=name(code))
        case Kind.ACCOUNT | Kind.PERMISSION | Kind.CAPTCHA:
            return Blocked(code=name(code), reason=words, hold=HoldReason(kind.value))
        case Kind.ACCEPTED:
            return Submitted(ticket=ticket, look_again_at=now + SHOWN_AFTER)
        case Kind.DUPLICATE | Kind.DOUBT:
            return Unknown(reason=name(code), is_duplicate=kind is Kind.DUPLICATE)


def limit_in(reply: Reply, now: datetime) -> RateLimited | None:
    """Give the limit that keeps back every call of the login, if a read or a removal was answered with one."""
    if reply.status == 200:
        return None
    code = error_code(object_of(reply))
    return RateLimited(code=name(code), until=next_full_hour(now)) if code in OF_LOGIN else reply.limit(LIMIT, now)


def next_full_hour(now: datetime) -> datetime:
    """Give the end of the present window; Beijing's hours begin when those of UTC do."""
    return now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _post(site: Site, url: str, form: dict[str, str], picture: Upload | None = None) -> Call:
    return Call(method="POST", url=url, form=form, uploads=(picture,) if picture else (), headers=site.headers)


def _from(address: str | None) -> dict[str, str]:
    return {"rip": address} if address else {}


def _trouble(reply: Reply, body: Json | None, ticket: Ticket, now: datetime) -> Outcome | None:
    """Say what an answer other than a good one means."""
    if reply.status >= 500:
        return Unknown(reason="server_error")
    code = error_code(body)
    if code is not None and (code in CODES or reply.status != 429):
        return refusal(code, words_of(body), ticket, now)
    if reply.status == 429:
        return reply.limit(LIMIT, now)
    return Unknown(reason="bad_reply") if body is None or reply.status != 200 else None


def _published(body: Json, uid: str) -> Outcome:
    remote_id, owner = id_of(body), owner_of(body)
    if remote_id is None or owner is None:
        return Unknown(reason="weibo_no_id")
    made = receipt(remote_id, owner, moment(body.get("created_at")) or made_at(remote_id))
    if owner != uid:
        return Blocked(code="weibo_wrong_account", reason=made.url, hold=HoldReason.WRONG_ACCOUNT)
    return Published(receipt=made)
