"""WeChat's calls and responses as data. Pure.

`encode_*` builds a request, `decode_*` reads a response. Source: developers.weixin.qq.com, pages of
the named calls, read 2026-11-24. Every response is HTTP 200 with JSON, under any content type.
`errcode` separates success from failure, and is absent from many good responses. Numbers arrive as
numbers or strings. Text must be sent as raw UTF-8: escaped characters are stored as they are
written.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from publisher.contract import HttpRequest, HttpResponse, Upload
from publisher.domain.characters import is_storable
from publisher.domain.post import DeliveryId, RenderedImage, RenderedPost
from publisher.domain.post_list import MAX_LIST_ENTRIES
from publisher.domain.results import Ticket

BASE_URL = "https://api.weixin.qq.com"
PAGE_SIZE = 20
"""The most items that one page of a list holds."""
MAX_MESSAGE_LENGTH = 200
CROP_FIELDS = {"wide": "pic_crop_235_1", "square": "pic_crop_1_1"}
"""The fields of draft/add for the two shapes of a cover, 2.35:1 and 1:1."""

_PICTURE_PLACEHOLDER = re.compile(
    r'(<img\b(?:[^>"]|"[^"]*")*?\ssrc=")media:([0-9a-f]{64})(?=")'
)
_JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiError:
    """A complete response with an error code.

    `message` is the platform's own text, and decides nothing.
    """

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyRequests:
    """HTTP 429, from WeChat or a proxy. `retry_after` is the header as it came."""

    retry_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableResponse:
    """Not a response of this API, or one that lacks a required field."""

    reason: str


ErrorResponse = ApiError | TooManyRequests | UnreadableResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatTokenGrant:
    """An access token and its lifetime."""

    token: str = field(repr=False)
    lifetime: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class WeChatArticle:
    """One article of a list or a draft.

    `id` is the article's or the draft's, by the call; lists omit `content`.
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
    """One page of a list.

    `total` counts the whole list's items; an item of `ids` may hold several articles.
    """

    total: int
    ids: tuple[str, ...]
    articles: tuple[WeChatArticle, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """The status of a submission.

    It is 0 published, 1 in progress, 2 to 4 refused, 5 deleted, or 6 removed by the platform.
    """

    status: int
    article_id: str | None
    url: str | None


def encode_token(
    base: str, app_id: str, app_secret: str, *, is_forced: bool
) -> HttpRequest:
    """Request the token that several processes may share.

    A forced request ends the current token at once.
    """
    body = {
        "grant_type": "client_credential",
        "appid": app_id,
        "secret": app_secret,
        "force_refresh": is_forced,
    }
    return HttpRequest(
        method="POST",
        url=f"{base}/cgi-bin/stable_token",
        content=_encode_json(body),
        headers=_JSON_HEADERS,
    )


def encode_cover(
    base: str, token: str, picture: RenderedImage, data: bytes
) -> HttpRequest:
    """Store a picture permanently, as covers require."""
    query = (("access_token", token), ("type", "image"))
    url = f"{base}/cgi-bin/material/add_material"
    return HttpRequest(
        method="POST", url=url, query=query, uploads=(_to_upload(picture, data),)
    )


def encode_picture(
    base: str, token: str, picture: RenderedImage, data: bytes
) -> HttpRequest:
    """Store a picture for use inside articles."""
    return HttpRequest(
        method="POST",
        url=f"{base}/cgi-bin/media/uploadimg",
        query=(("access_token", token),),
        uploads=(_to_upload(picture, data),),
    )


def encode_draft_add(  # noqa: PLR0913 # a draft has these parts
    base: str,
    token: str,
    rendered: RenderedPost,
    content: str,
    cover: str,
    *,
    author: str = "",
) -> HttpRequest:
    article = {
        "article_type": "news",
        "title": rendered.title,
        "author": author,
        "digest": rendered.summary,
        "content": content,
        "content_source_url": rendered.link or "",
        "thumb_media_id": cover,
        **encode_crops(rendered),
        "need_open_comment": 0,
        "only_fans_can_comment": 0,
    }
    return replace(
        build_json_request(base, "draft/add", token, {"articles": [article]}),
        is_idempotent=False,
    )


def encode_crops(rendered: RenderedPost) -> Mapping[str, str]:
    """Return the fields that say how the cover is cut, as far as its author has decided it."""
    crops = rendered.images[0].crops if rendered.images else {}
    return {CROP_FIELDS[shape]: text for shape, text in crops.items() if text}


def encode_draft_get(base: str, token: str, draft: str) -> HttpRequest:
    return build_json_request(base, "draft/get", token, {"media_id": draft})


def encode_drafts(base: str, token: str, offset: int) -> HttpRequest:
    return build_json_request(
        base,
        "draft/batchget",
        token,
        {"offset": offset, "count": PAGE_SIZE, "no_content": 1},
    )


def encode_submit(base: str, token: str, draft: str) -> HttpRequest:
    """Publish a draft. The one call that creates."""
    return build_json_request(base, "freepublish/submit", token, {"media_id": draft})


def encode_job(base: str, token: str, publish_id: str) -> HttpRequest:
    return build_json_request(
        base, "freepublish/get", token, {"publish_id": publish_id}
    )


def encode_published(base: str, token: str, offset: int) -> HttpRequest:
    return build_json_request(
        base,
        "freepublish/batchget",
        token,
        {"offset": offset, "count": PAGE_SIZE, "no_content": 1},
    )


def encode_article(base: str, token: str, article_id: str) -> HttpRequest:
    return build_json_request(
        base, "freepublish/getarticle", token, {"article_id": article_id}
    )


def encode_delete(base: str, token: str, article_id: str) -> HttpRequest:
    """Delete all of an article. Index 0 means all; it cannot be undone."""
    return build_json_request(
        base, "freepublish/delete", token, {"article_id": article_id, "index": 0}
    )


def find_pictures(content: str) -> tuple[str, ...]:
    """Return the hashes of the pictures in an article's HTML, each once, in order."""
    return tuple(
        dict.fromkeys(match[2] for match in _PICTURE_PLACEHOLDER.finditer(content))
    )


def insert_picture_urls(content: str, urls: Mapping[str, str]) -> str:
    """Replace each picture's hash by its URL, and change nothing else."""
    return _PICTURE_PLACEHOLDER.sub(
        lambda match: match[1] + html.escape(urls[match[2]]), content
    )


def decode_success(response: HttpResponse) -> bool | ErrorResponse:
    """Return True for a response that reports nothing but success."""
    return decode_response(response, lambda _: True)


def decode_token(response: HttpResponse) -> WeChatTokenGrant | ErrorResponse:
    return decode_response(
        response,
        lambda body: WeChatTokenGrant(
            token=get_text(body, "access_token"),
            lifetime=timedelta(seconds=int(body["expires_in"])),
        ),
    )


def decode_media_id(response: HttpResponse) -> str | ErrorResponse:
    """Return the id of a stored cover or of a new draft."""
    return decode_response(response, lambda body: get_text(body, "media_id"))


def decode_picture(response: HttpResponse) -> str | ErrorResponse:
    """Return the URL of a stored picture."""
    return decode_response(response, lambda body: get_text(body, "url"))


def decode_submit(response: HttpResponse) -> str | ErrorResponse:
    """Return the number of the submission."""
    return decode_response(response, lambda body: get_text(body, "publish_id"))


def decode_job(response: HttpResponse) -> JobStatus | ErrorResponse:
    def parse_job(body: Mapping[str, Any]) -> JobStatus:
        status = int(body["publish_status"])
        if status != 0:
            return JobStatus(status=status, article_id=None, url=None)
        url = get_text(body.get("article_detail", {}).get("item", [])[0], "article_url")
        return JobStatus(status=0, article_id=get_text(body, "article_id"), url=url)

    return decode_response(response, parse_job)


def decode_articles(
    response: HttpResponse,
) -> tuple[WeChatArticle, ...] | ErrorResponse:
    """Return the articles of one draft, or of one published id; at least one."""

    def parse_articles(body: Mapping[str, Any]) -> tuple[WeChatArticle, ...]:
        articles = _parse_articles("", body, body.get("update_time", 0))
        if not articles:
            raise ValueError("news_item")
        return articles

    return decode_response(response, parse_articles)


def decode_drafts(response: HttpResponse) -> ArticlePage | ErrorResponse:
    return decode_response(response, lambda body: _parse_page(body, "media_id"))


def decode_published(response: HttpResponse) -> ArticlePage | ErrorResponse:
    return decode_response(response, lambda body: _parse_page(body, "article_id"))


def build_json_request(
    base: str,
    path: str,
    token: str,
    body: Mapping[str, object],
    *,
    path_prefix: str = "cgi-bin",
) -> HttpRequest:
    """Build a call with a JSON body, as in all calls but the uploads."""
    return HttpRequest(
        method="POST",
        url=f"{base}/{path_prefix}/{path}",
        query=(("access_token", token),),
        content=_encode_json(body),
        headers=_JSON_HEADERS,
    )


def _encode_json(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _to_upload(picture: RenderedImage, data: bytes) -> Upload:
    name = f"{picture.sha256[:16]}.{picture.file_suffix}"
    return Upload(name="media", filename=name, media_type=picture.media_type, data=data)


def decode_response(
    response: HttpResponse, extract: Callable[[Mapping[str, Any]], T]
) -> T | ErrorResponse:
    """Return the result of `extract` on a good response's body, or the error.

    `extract` may raise the errors of a missing or odd field: KeyError, TypeError, ValueError and
    the like.
    """
    if response.status == 429:
        return TooManyRequests(retry_after=response.headers.get("retry-after"))
    if response.status >= 500:
        return UnreadableResponse(reason="server_error")
    if response.status != 200:
        return UnreadableResponse(reason="wechat_http_error")
    try:
        body = json.loads(response.body)
    except (ValueError, RecursionError):
        return UnreadableResponse(reason="wechat_unreadable")
    try:
        if code := int(body.get("errcode", 0)):
            return ApiError(
                code=code, message=str(body.get("errmsg", ""))[:MAX_MESSAGE_LENGTH]
            )
        return extract(body)
    except (
        AttributeError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        OverflowError,
        OSError,
    ):
        return UnreadableResponse(reason="wechat_incomplete")


def get_text(body: Mapping[str, Any], key: str) -> str:
    """Return an id or URL as text.

    Raises KeyError or ValueError if there is none, or it is damaged.
    """
    value = body[key]
    if (
        isinstance(value, bool)
        or not isinstance(value, str | int)
        or value in ("", 0)
        or not is_storable(str(value))
    ):
        raise ValueError(key)
    return str(value)


def _parse_page(body: Mapping[str, Any], id_key: str) -> ArticlePage:
    items = body.get("item") or []
    if len(items) > MAX_LIST_ENTRIES:
        raise ValueError("item")
    return ArticlePage(
        total=int(body["total_count"]),
        ids=tuple(get_text(item, id_key) for item in items),
        articles=tuple(
            article
            for item in items
            for article in _parse_articles(
                get_text(item, id_key), item["content"], item.get("update_time")
            )
        ),
    )


def _parse_articles(
    item_id: str, content: Mapping[str, Any], updated: object
) -> tuple[WeChatArticle, ...]:
    seconds = int(str(updated if updated is not None else content["update_time"]))
    return tuple(
        WeChatArticle(
            id=item_id,
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
    """Work that WeChat has not finished.

    It is a submission's number or a mass send's name, and how often it was polled.
    """

    name: str
    delivery: DeliveryId
    polls: int


def encode_ticket(pending_job: PendingJob) -> Ticket:
    return Ticket(payload=json.dumps(asdict(pending_job)))


def decode_ticket(ticket: Ticket) -> PendingJob | None:
    """Return a ticket's job; None where it is not ours."""
    try:
        facts = json.loads(ticket.payload)
        return PendingJob(
            name=str(facts["name"]),
            delivery=DeliveryId(int(facts["delivery"])),
            polls=int(facts["polls"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
