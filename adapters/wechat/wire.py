"""WeChat's calls and answers as data: `encode_*` makes a Call, `decode_*` reads a Reply. Pure.

Source: developers.weixin.qq.com, pages of the named calls, read 2026-11-24. Every answer is HTTP 200 with JSON,
whatever its content type; `errcode` tells success, and is absent from many successful answers. Numbers arrive as
numbers or strings. Text must be sent as raw UTF-8: escaped characters are stored as they are written.
"""

import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from publisher.contract import Call, Reply, Upload
from publisher.domain.rendition import Picture, Rendition

BASE_URL = "https://api.weixin.qq.com"
PAGE = 20
"""The most items that one page of a list holds."""
LONGEST_MESSAGE = 200

_PICTURE = re.compile(r'(<img\b(?:[^>"]|"[^"]*")*?\ssrc=")media:([0-9a-f]{64})(?=")')
_JSON_HEADERS = {"content-type": "application/json; charset=utf-8"}
_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/bmp": "bmp"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A complete answer with an error code. `message` is the platform's own words, never decided upon."""

    code: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """HTTP 429, from WeChat or something in between. `retry_after` is the header as it came."""

    retry_after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Not an answer of this API, or one without what it promises."""

    reason: str


Trouble = Refused | Limited | Unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An access token and how long it lasts."""

    token: str = field(repr=False)
    lasts: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
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
class Page:
    """One page of a list. `total` counts the whole list's items; an item of `ids` may hold several articles."""

    total: int
    ids: tuple[str, ...]
    articles: tuple[Article, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """How far a submission has come: 0 public, 1 working, 2 to 4 refused, 5 deleted, 6 taken down."""

    status: int
    article_id: str | None
    url: str | None


def encode_token(base: str, app_id: str, app_secret: str, *, is_forced: bool) -> Call:
    """Ask for the token that several processes may share. Forcing ends the present one at once."""
    body = {"grant_type": "client_credential", "appid": app_id, "secret": app_secret, "force_refresh": is_forced}
    return Call(method="POST", url=f"{base}/cgi-bin/stable_token", content=_json(body), headers=_JSON_HEADERS)


def encode_cover(base: str, token: str, picture: Picture, data: bytes) -> Call:
    """Store a picture for good, as covers demand."""
    query = {"access_token": token, "type": "image"}
    url = f"{base}/cgi-bin/material/add_material"
    return Call(method="POST", url=url, query=query, uploads=(_upload(picture, data),))


def encode_picture(base: str, token: str, picture: Picture, data: bytes) -> Call:
    """Store a picture for use inside articles."""
    query = {"access_token": token}
    return Call(method="POST", url=f"{base}/cgi-bin/media/uploadimg", query=query, uploads=(_upload(picture, data),))


def encode_draft_add(  # noqa: PLR0913 # a draft has that many parts
    base: str, token: str, rendition: Rendition, content: str, cover: str, *, author: str = ""
) -> Call:
    article = {
        "article_type": "news",
        "title": rendition.title,
        "author": author,
        "digest": rendition.summary,
        "content": content,
        "content_source_url": rendition.link or "",
        "thumb_media_id": cover,
        "need_open_comment": 0,
        "only_fans_can_comment": 0,
    }
    return replace(post_json(base, "draft/add", token, {"articles": [article]}), is_repeatable=False)


def encode_draft_get(base: str, token: str, draft: str) -> Call:
    return post_json(base, "draft/get", token, {"media_id": draft})


def encode_drafts(base: str, token: str, offset: int) -> Call:
    return post_json(base, "draft/batchget", token, {"offset": offset, "count": PAGE, "no_content": 1})


def encode_submit(base: str, token: str, draft: str) -> Call:
    """Make a draft public. The one call that creates."""
    return post_json(base, "freepublish/submit", token, {"media_id": draft})


def encode_job(base: str, token: str, publish_id: str) -> Call:
    return post_json(base, "freepublish/get", token, {"publish_id": publish_id})


def encode_published(base: str, token: str, offset: int) -> Call:
    return post_json(base, "freepublish/batchget", token, {"offset": offset, "count": PAGE, "no_content": 1})


def encode_article(base: str, token: str, article_id: str) -> Call:
    return post_json(base, "freepublish/getarticle", token, {"article_id": article_id})


def encode_delete(base: str, token: str, article_id: str) -> Call:
    """Delete all of an article. Index 0 means all; it cannot be undone."""
    return post_json(base, "freepublish/delete", token, {"article_id": article_id, "index": 0})


def pictures_in(content: str) -> tuple[str, ...]:
    """Give the hashes of the pictures that an article's HTML shows, each once, in order."""
    return tuple(dict.fromkeys(match[2] for match in _PICTURE.finditer(content)))


def put_addresses(content: str, addresses: Mapping[str, str]) -> str:
    """Put each picture's address in place of its hash, and change nothing else."""
    return _PICTURE.sub(lambda match: match[1] + html.escape(addresses[match[2]]), content)


def decode_done(reply: Reply) -> bool | Trouble:
    """Read an answer that says no more than that it worked."""
    return read_answer(reply, lambda _: True)


def decode_token(reply: Reply) -> Grant | Trouble:
    return read_answer(
        reply,
        lambda answer: Grant(token=text_of(answer, "access_token"), lasts=timedelta(seconds=int(answer["expires_in"]))),
    )


def decode_media_id(reply: Reply) -> str | Trouble:
    """Read the id of a stored cover or of a new draft."""
    return read_answer(reply, lambda answer: text_of(answer, "media_id"))


def decode_picture(reply: Reply) -> str | Trouble:
    """Read the address of a stored picture."""
    return read_answer(reply, lambda answer: text_of(answer, "url"))


def decode_submit(reply: Reply) -> str | Trouble:
    """Read the number under which the submission is worked on."""
    return read_answer(reply, lambda answer: text_of(answer, "publish_id"))


def decode_job(reply: Reply) -> Job | Trouble:
    return read_answer(reply, _job)


def decode_articles(reply: Reply) -> tuple[Article, ...] | Trouble:
    """Read the articles of one draft, or of one published id; at least one."""
    return read_answer(reply, _standing)


def decode_drafts(reply: Reply) -> Page | Trouble:
    return read_answer(reply, lambda answer: _page(answer, "media_id"))


def decode_published(reply: Reply) -> Page | Trouble:
    return read_answer(reply, lambda answer: _page(answer, "article_id"))


def post_json(base: str, path: str, token: str, body: Mapping[str, object], *, under: str = "cgi-bin") -> Call:
    """Make a call whose body is JSON, as all but the uploads are."""
    return Call(
        method="POST",
        url=f"{base}/{under}/{path}",
        query={"access_token": token},
        content=_json(body),
        headers=_JSON_HEADERS,
    )


def _json(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _upload(picture: Picture, data: bytes) -> Upload:
    ending = _ENDINGS.get(picture.media_type, "jpg")
    return Upload(name="media", filename=f"{picture.sha256[:16]}.{ending}", media_type=picture.media_type, data=data)


def read_answer(reply: Reply, pick: Callable[[Mapping[str, Any]], T]) -> T | Trouble:
    """Read an answer by `pick`, which may raise what a missing or odd field raises; anything else is trouble."""
    if reply.status == 429:
        return Limited(retry_after=reply.headers.get("retry-after"))
    if reply.status != 200:
        return Unreadable(reason="wechat_http_error")
    try:
        answer = json.loads(reply.body)
    except (ValueError, RecursionError):
        return Unreadable(reason="wechat_unreadable")
    try:
        if code := int(answer.get("errcode", 0)):
            return Refused(code=code, message=str(answer.get("errmsg", ""))[:LONGEST_MESSAGE])
        return pick(answer)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, OSError):
        return Unreadable(reason="wechat_incomplete")


def text_of(answer: Mapping[str, Any], key: str) -> str:
    """Give an id or address as text. Raises KeyError or ValueError where there is none."""
    value = answer[key]
    if isinstance(value, bool) or not isinstance(value, str | int) or value in ("", 0):
        raise ValueError(key)
    return str(value)


def _job(answer: Mapping[str, Any]) -> Job:
    status = int(answer["publish_status"])
    items = answer.get("article_detail", {}).get("item", []) if status == 0 else []
    return Job(
        status=status,
        article_id=text_of(answer, "article_id") if status == 0 else None,
        url=text_of(items[0], "article_url") if status == 0 else None,
    )


def _standing(answer: Mapping[str, Any]) -> tuple[Article, ...]:
    articles = _articles("", answer, answer.get("update_time", 0))
    if not articles:
        raise ValueError("news_item")
    return articles


def _page(answer: Mapping[str, Any], name: str) -> Page:
    items = answer.get("item") or []
    return Page(
        total=int(answer["total_count"]),
        ids=tuple(text_of(item, name) for item in items),
        articles=tuple(
            article
            for item in items
            for article in _articles(text_of(item, name), item["content"], item.get("update_time"))
        ),
    )


def _articles(name: str, content: Mapping[str, Any], updated: object) -> tuple[Article, ...]:
    seconds = int(str(updated if updated is not None else content["update_time"]))
    return tuple(
        Article(
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
