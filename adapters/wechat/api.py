"""WeChat's calls and answers as data: `encode_*` makes a Call, `decode_*` reads a Reply. Pure.

Source: developers.weixin.qq.com, pages of the named calls, read 2026-11-24. Every answer is HTTP 200 with JSON,
whatever its content type; `errcode` tells success, and is absent from many successful answers. Numbers arrive as
numbers or strings. Text must be sent as raw UTF-8: escaped characters are stored as they are written.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.rendered import DeliveryId, RenderedImage, RenderedPost
from publisher.domain.results import Ticket

BASE_URL = "https://api.weixin.qq.com"
PAGE_SIZE = 20
"""The most items that one page of a list holds."""
MAX_MESSAGE_LENGTH = 200

_PICTURE_PLACEHOLDER = re.compile(r'(<img\b(?:[^>"]|"[^"]*")*?\ssrc=")media:([0-9a-f]{64})(?=")')
_JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}
_FILE_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/bmp": "bmp"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """A complete answer with an error code. `message` is the platform's own words, never decided upon."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyRequests:
    """HTTP 429, from WeChat or something in between. `retry_after` is the header as it came."""

    retry_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableResponse:
    """Not an answer of this API, or one without what it promises."""

    reason: str


ErrorResponse = ApiError | TooManyRequests | UnreadableResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatTokenGrant:
    """An access token and how long it lasts."""

    token: str = field(repr=False)
    lifetime: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatArticle:
    """What a list or a draft tells of one article. `id` is the article's or the draft's, as the call has it.

    Lists leave the content out.
    """

    id: str
    title: str
    digest: str
    link: str
    url: str
    is_deleted: bool
    updated_at: datetime
    author: str = ""
    content: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticlePage:
    """One page of a list. `total` counts the whole list's items; an item of `ids` may hold several articles."""

    total: int
    ids: tuple[str, ...]
    articles: tuple[WeChatArticle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How far a submission has come: 0 public, 1 working, 2 to 4 refused, 5 deleted, 6 taken down."""

    status: int
    article_id: str | None
    url: str | None


def encode_token(base: str, app_id: str, app_secret: str, *, is_forced: bool) -> HttpRequest:
    """Ask for the token that several processes may share. Forcing ends the present one at once."""
    body = {"grant_type": "client_credential", "appid": app_id, "secret": app_secret, "force_refresh": is_forced}
    return HttpRequest(
        method="POST", url=f"{base}/cgi-bin/stable_token", content=_encode_json(body), headers=_JSON_HEADERS
    )


def encode_cover(base: str, token: str, picture: RenderedImage, data: bytes) -> HttpRequest:
    """Store a picture for good, as covers demand."""
    query = {"access_token": token, "type": "image"}
    url = f"{base}/cgi-bin/material/add_material"
    return HttpRequest(method="POST", url=url, query=query, uploads=(_to_upload(picture, data),))


def encode_picture(base: str, token: str, picture: RenderedImage, data: bytes) -> HttpRequest:
    """Store a picture for use inside articles."""
    query = {"access_token": token}
    return HttpRequest(
        method="POST", url=f"{base}/cgi-bin/media/uploadimg", query=query, uploads=(_to_upload(picture, data),)
    )


def encode_draft_add(  # noqa: PLR0913 # a draft has that many parts
    base: str, token: str, rendered: RenderedPost, content: str, cover: str, *, author: str = ""
) -> HttpRequest:
    article = {
        "article_type": "news",
        "title": rendered.title,
        "author": author,
        "digest": rendered.summary,
        "content": content,
        "content_source_url": rendered.link or "",
        "thumb_media_id": cover,
        "need_open_comment": 0,
        "only_fans_can_comment": 0,
    }
    return replace(build_json_request(base, "draft/add", token, {"articles": [article]}), is_idempotent=False)


def encode_draft_get(base: str, token: str, draft: str) -> HttpRequest:
    return build_json_request(base, "draft/get", token, {"media_id": draft})


def encode_drafts(base: str, token: str, offset: int) -> HttpRequest:
    return build_json_request(base, "draft/batchget", token, {"offset": offset, "count": PAGE_SIZE, "no_content": 1})


def encode_submit(base: str, token: str, draft: str) -> HttpRequest:
    """Make a draft public. The one call that creates."""
    return build_json_request(base, "freepublish/submit", token, {"media_id": draft})


def encode_job(base: str, token: str, publish_id: str) -> HttpRequest:
    return build_json_request(base, "freepublish/get", token, {"publish_id": publish_id})


def encode_published(base: str, token: str, offset: int) -> HttpRequest:
    return build_json_request(
        base, "freepublish/batchget", token, {"offset": offset, "count": PAGE_SIZE, "no_content": 1}
    )


def encode_article(base: str, token: str, article_id: str) -> HttpRequest:
    return build_json_request(base, "freepublish/getarticle", token, {"article_id": article_id})


def encode_delete(base: str, token: str, article_id: str) -> HttpRequest:
    """Delete all of an article. Index 0 means all; it cannot be undone."""
    return build_json_request(base, "freepublish/delete", token, {"article_id": article_id, "index": 0})


def find_pictures(content: str) -> tuple[str, ...]:
    """Give the hashes of the pictures that an article's HTML shows, each once, in order."""
    return tuple(dict.fromkeys(match[2] for match in _PICTURE_PLACEHOLDER.finditer(content)))


def insert_picture_urls(content: str, addresses: Mapping[str, str]) -> str:
    """Put each picture's address in place of its hash, and change nothing else."""
    return _PICTURE_PLACEHOLDER.sub(lambda match: match[1] + html.escape(addresses[match[2]]), content)


def decode_success(response: HttpResponse) -> bool | ErrorResponse:
    """Read an answer that says no more than that it worked."""
    return decode_response(response, lambda _: True)


def decode_token(response: HttpResponse) -> WeChatTokenGrant | ErrorResponse:
    return decode_response(
        response,
        lambda answer: WeChatTokenGrant(
            token=get_text(answer, "access_token"), lifetime=timedelta(seconds=int(answer["expires_in"]))
        ),
    )


def decode_media_id(response: HttpResponse) -> str | ErrorResponse:
    """Read the id of a stored cover or of a new draft."""
    return decode_response(response, lambda answer: get_text(answer, "media_id"))


def decode_picture(response: HttpResponse) -> str | ErrorResponse:
    """Read the address of a stored picture."""
    return decode_response(response, lambda answer: get_text(answer, "url"))


def decode_submit(response: HttpResponse) -> str | ErrorResponse:
    """Read the number under which the submission is worked on."""
    return decode_response(response, lambda answer: get_text(answer, "publish_id"))


def decode_job(response: HttpResponse) -> JobStatus | ErrorResponse:
    return decode_response(response, _parse_job)


def decode_articles(response: HttpResponse) -> tuple[WeChatArticle, ...] | ErrorResponse:
    """Read the articles of one draft, or of one published id; at least one."""
    return decode_response(response, _parse_nonempty_articles)


def decode_drafts(response: HttpResponse) -> ArticlePage | ErrorResponse:
    return decode_response(response, lambda answer: _parse_page(answer, "media_id"))


def decode_published(response: HttpResponse) -> ArticlePage | ErrorResponse:
    return decode_response(response, lambda answer: _parse_page(answer, "article_id"))


def build_json_request(
    base: str, path: str, token: str, body: Mapping[str, object], *, path_prefix: str = "cgi-bin"
) -> HttpRequest:
    """Make a call whose body is JSON, as all but the uploads are."""
    return HttpRequest(
        method="POST",
        url=f"{base}/{path_prefix}/{path}",
        query={"access_token": token},
        content=_encode_json(body),
        headers=_JSON_HEADERS,
    )


def _encode_json(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _to_upload(picture: RenderedImage, data: bytes) -> Upload:
    ending = _FILE_SUFFIXES.get(picture.media_type, "jpg")
    return Upload(name="media", filename=f"{picture.sha256[:16]}.{ending}", media_type=picture.media_type, data=data)


def decode_response(response: HttpResponse, extract: Callable[[Mapping[str, Any]], T]) -> T | ErrorResponse:
    """Read an answer by `pick`, which may raise what a missing or odd field raises; anything else is trouble."""
    if response.status == 429:
        return TooManyRequests(retry_after=response.headers.get("retry-after"))
    if response.status != 200:
        return UnreadableResponse(reason="wechat_http_error")
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        return UnreadableResponse(reason="wechat_unreadable")
    try:
        if code := int(answer.get("errcode", 0)):
            return ApiError(code=code, message=str(answer.get("errmsg", ""))[:MAX_MESSAGE_LENGTH])
        return extract(answer)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, OSError):
        return UnreadableResponse(reason="wechat_incomplete")


def get_text(answer: Mapping[str, Any], key: str) -> str:
    """Give an id or address as text. Raises KeyError or ValueError where there is none."""
    value = answer[key]
    if isinstance(value, bool) or not isinstance(value, str | int) or value in ("", 0):
        raise ValueError(key)
    return str(value)


def _parse_job(answer: Mapping[str, Any]) -> JobStatus:
    status = int(answer["publish_status"])
    items = answer.get("article_detail", {}).get("item", []) if status == 0 else []
    return JobStatus(
        status=status,
        article_id=get_text(answer, "article_id") if status == 0 else None,
        url=get_text(items[0], "article_url") if status == 0 else None,
    )


def _parse_nonempty_articles(answer: Mapping[str, Any]) -> tuple[WeChatArticle, ...]:
    articles = _parse_articles("", answer, answer.get("update_time", 0))
    if not articles:
        raise ValueError("news_item")
    return articles


def _parse_page(answer: Mapping[str, Any], name: str) -> ArticlePage:
    items = answer.get("item") or []
    return ArticlePage(
        total=int(answer["total_count"]),
        ids=tuple(get_text(item, name) for item in items),
        articles=tuple(
            article
            for item in items
            for article in _parse_articles(get_text(item, name), item["content"], item.get("update_time"))
        ),
    )


def _parse_articles(name: str, content: Mapping[str, Any], updated: object) -> tuple[WeChatArticle, ...]:
    seconds = int(str(updated if updated is not None else content["update_time"]))
    return tuple(
        WeChatArticle(
            id=name,
            title=str(news["title"]),
            digest=str(news.get("digest") or ""),
            link=str(news.get("content_source_url") or ""),
            url=str(news.get("url") or ""),
            is_deleted=str(news.get("is_deleted")).lower() in {"true", "1"},
            updated_at=datetime.fromtimestamp(seconds, UTC),
            author=str(news.get("author") or ""),
            content=str(news.get("content") or ""),
        )
        for news in content["news_item"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingJob:
    """What WeChat still works on: the number of a submission, or the name of a mass send, and how often we asked."""

    name: str
    delivery: DeliveryId
    looks: int


def encode_ticket(pending_job: PendingJob) -> Ticket:
    return Ticket(payload=json.dumps(asdict(pending_job)))


def decode_ticket(ticket: Ticket) -> PendingJob | None:
    """Read a ticket back, also one of an earlier version; None where it is not ours."""
    try:
        facts = json.loads(ticket.payload)
        return PendingJob(
            name=str(facts["name"] if "name" in facts else facts["publish_id"]),
            delivery=DeliveryId(int(facts.get("delivery", 0))),
            looks=int(facts["looks"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
