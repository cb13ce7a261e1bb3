"""The calls that create a post.

The sources are open.weibo.com wiki 2/statuses/share, update, upload; C/2/statuses/…/biz;
Error_code. An ordinary app may use `share`, with a link to a bound domain. Every other call needs a
grant. Headline articles are a long text behind a short post (wiki Toutiao/api, 2022-11-29). Their
responses have an envelope of their own, except for a missing grant. That comes in the usual body.
"""

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .auth import check_access, has_grant
from .responses import build_picture_urls, format_status, make_post_id, refuse
from .text import LINK, count_characters, shorten_links, strip_topics

MAX_CHARACTERS, MAX_LONG_CHARACTERS = 140, 2000
MAX_ANNOTATION_LENGTH = 512
MAX_PICTURES = 9
MAX_PICTURE_BYTES = 5 * 1024 * 1024
FILE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
PLACEHOLDER_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGOoBwAAgQCAbdzBAgAAAABJRU5ErkJggg=="
)
"""One grey pixel, used for a picture given by URL: the simulator fetches nothing."""
PICTURES_TABLE = "weibo_pictures"
MISSING_PARAMETER = 10016
INVALID_PARAMETER = 10017
EMPTY_TEXT = 20008
TEXT_TOO_LONG = 20012
LONG_TEXT_TOO_LONG = 20049
NO_IMAGE, WRONG_IMAGE_TYPE, IMAGE_TOO_LARGE = 20007, 20005, 20006
UNBOUND_DOMAIN, DELAYED_SUCCESS, HELD_FOR_REVIEW, SAME_TEXT = 10017, 20032, 20053, 20019
REPETITION_SECONDS = 600
"""How long the same text is refused again: our choice."""
ARTICLE_SUCCESS, INVALID_ARTICLE_PARAMETER = "100000", 10008
ARTICLE_FIELD_LIMITS = {"title": 32, "content": 90_000, "cover": 0, "text": 1900}
"""The required fields of an article, each with its maximum length in characters; 0 for no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEndpoint:
    """One creating call: the grant it needs, how it takes pictures, and its rules for the text."""

    grant: str = ""
    picture: Literal["may", "must", "none", "stored"] = "none"
    is_strict: bool = False
    """True if the text needs a link to a bound domain.

    Topics then lose their marks, and annotations are ignored.
    """
    can_be_long: bool = False


CREATE_ENDPOINTS = {
    "/2/statuses/share.json": CreateEndpoint(picture="may", is_strict=True),
    "/2/statuses/update.json": CreateEndpoint(grant="update", can_be_long=True),
    "/2/statuses/upload.json": CreateEndpoint(grant="update", picture="must"),
    "/2/statuses/update/biz.json": CreateEndpoint(can_be_long=True),
    "/2/statuses/upload_url_text/biz.json": CreateEndpoint(
        picture="stored", can_be_long=True
    ),
}


def create_post(
    state: SimulatorState, request: ApiRequest, endpoint: CreateEndpoint
) -> ApiResponse:
    """Create a post.

    The checks come in this order: access, parameters, picture, length, domain, repetition.
    """
    refusal = (
        check_access(state, request, "POST", endpoint.grant, is_publishing=True)
        or _check_parameters(state, request, endpoint)
        or _check_picture(state, request, endpoint)
        or _check_text(state, request, endpoint)
    )
    if refusal:
        return refusal
    text = request.get_parameter("status") or ""
    text = strip_topics(text) if endpoint.is_strict else text
    extra: dict[str, Any] = {}
    annotations = request.get_parameter("annotations")
    if annotations and not endpoint.is_strict:
        given = json.loads(annotations)
        extra["annotations"] = given if isinstance(given, list) else [given]
    if count_characters(text) > MAX_CHARACTERS:
        extra["long"] = True
    images = [] if endpoint.picture == "none" else _store_pictures(state, request)
    if endpoint.picture == "stored" and not images:
        images = [state.store_media(PLACEHOLDER_PICTURE)]
    now = state.now()
    post = SimulatedPost(
        make_post_id(state, now),
        "weibo",
        request.account,
        now,
        text,
        images=images,
        extra=extra,
    )
    _publish(state, request, post)
    if post.state == "review":
        is_announced = (request.get_fault("review") or {}).get("announce")
        return refuse(request, HELD_FOR_REVIEW if is_announced else DELAYED_SUCCESS)
    return ApiResponse.from_json(format_status(state, post))


def _publish(state: SimulatorState, request: ApiRequest, post: SimulatedPost) -> None:
    """Add a post to the state, with its links shortened."""
    sent = request.get_parameter("status") or post.text
    post.text, links = shorten_links(post.text)
    post.extra |= {"sent": sent, "url_objects": links}
    state.create_post(request, post)


def _check_parameters(
    state: SimulatorState, request: ApiRequest, endpoint: CreateEndpoint
) -> ApiResponse | None:
    text = request.get_parameter("status")
    if text is None:
        return refuse(request, MISSING_PARAMETER, "status")
    if not text.strip():
        return refuse(request, EMPTY_TEXT)
    if state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
        return refuse(request, MISSING_PARAMETER, "rip")
    if endpoint.is_strict:
        return None
    annotations = request.get_parameter("annotations") or "0"
    try:
        json.loads(annotations)
    except ValueError:
        return refuse(request, INVALID_PARAMETER, "annotations")
    return (
        refuse(request, INVALID_PARAMETER, "annotations")
        if len(annotations) > MAX_ANNOTATION_LENGTH
        else None
    )


def _check_text(
    state: SimulatorState, request: ApiRequest, endpoint: CreateEndpoint
) -> ApiResponse | None:
    text = request.get_parameter("status") or ""
    size = count_characters(text)
    may_be_long = (
        endpoint.can_be_long
        and request.get_parameter("is_longtext") == "1"
        and has_grant(state, request.account, "long_text")
    )
    if size > MAX_CHARACTERS and not may_be_long:
        return refuse(request, TEXT_TOO_LONG)
    if size > MAX_LONG_CHARACTERS:
        return refuse(request, LONG_TEXT_TOO_LONG)
    links = LINK.findall(text) if "http" in text.lower() else []
    bound = state.behaviour.weibo_safe_domains
    if endpoint.is_strict and not any(
        not bound or urlsplit(link).hostname in bound for link in links
    ):
        return refuse(request, UNBOUND_DOMAIN, message="text not find domain!")
    return (
        refuse(request, SAME_TEXT)
        if _is_repeated(state, request.account, text)
        else None
    )


def _is_repeated(state: SimulatorState, account: str, text: str) -> bool:
    """True if the text is that of the account's last post, unless that is long ago."""
    if state.behaviour.weibo_duplicates == "off":
        return False
    kept = [
        post for post in state.get_posts("weibo", account) if post.state != "removed"
    ]
    since = state.now() - REPETITION_SECONDS
    return (
        bool(kept)
        and kept[-1].created >= since
        and kept[-1].extra.get("sent", "") == text
    )


def publish_article(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Publish a headline article; in review the response carries the id as well."""
    if refusal := check_access(state, request, "POST", "article", is_publishing=True):
        return refusal
    given = {name: request.get_parameter(name) or "" for name in ARTICLE_FIELD_LIMITS}
    given["content"] = unquote(
        given["content"]
    )  # percent-encoded once more than by the transport
    invalid = [
        name
        for name, limit in ARTICLE_FIELD_LIMITS.items()
        if not given[name].strip() or (limit and len(given[name]) > limit)
    ]
    if not given["cover"].startswith(("http://", "https://")):
        invalid.append("cover")
    if state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
        invalid.append("rip")
    if invalid:
        return refuse(
            request, INVALID_ARTICLE_PARAMETER, message=f"param {invalid[0]} invalid"
        )
    now, title, html = state.now(), given["title"], given["content"]
    mid = make_post_id(state, now)
    number = f"2309404{mid}"
    url = f"https://weibo.com/ttarticle/p/show?id={number}"
    post = SimulatedPost(
        mid, "weibo", request.account, now, f"{given['text']} {url}", title, html
    )
    post.extra["articles"] = [
        {"title": title, "content": html, "author": "", "content_source_url": ""}
    ]
    _publish(state, request, post)
    data = {"object_id": f"1022:{number}", "url": url, "mid": mid}
    return ApiResponse.from_json({"code": ARTICLE_SUCCESS, "msg": "", "data": data})


def upload_picture(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Serve upload_pic: store a picture for a later post.

    Only its account may use its id.
    """
    refusal = check_access(state, request, "POST") or _check_uploaded_picture(
        request, is_needed=True
    )
    if refusal:
        return refusal
    digest, pic_id = _store_pictures(state, request)[0], secrets.token_hex(13)[:25]
    state.put_row(
        PICTURES_TABLE, pic_id, {"sha256": digest, "account": request.account}
    )
    return ApiResponse.from_json({"pic_id": pic_id, **build_picture_urls(pic_id)})


def _check_picture(
    state: SimulatorState, request: ApiRequest, endpoint: CreateEndpoint
) -> ApiResponse | None:
    """Return the refusal, if any, of the picture in the body or of picture ids.

    Without ids it is the refusal of a URL.
    """
    if endpoint.picture == "none":
        return None
    if endpoint.picture != "stored":
        return _check_uploaded_picture(request, is_needed=endpoint.picture == "must")
    ids, url = _get_picture_ids(request), request.get_parameter("url") or ""
    if ids:
        is_valid = len(ids) <= MAX_PICTURES and all(
            _find_digest(state, request, pic_id) for pic_id in ids
        )
        return None if is_valid else refuse(request, INVALID_PARAMETER, "pic_id")
    if not url:
        return refuse(request, MISSING_PARAMETER, "pic_id or url")
    return (
        None
        if url.lower().startswith("http")
        else refuse(request, INVALID_PARAMETER, "url")
    )


def _check_uploaded_picture(
    request: ApiRequest, *, is_needed: bool
) -> ApiResponse | None:
    picture = request.files.get("pic")
    if picture is None:
        return refuse(request, NO_IMAGE) if is_needed or "pic" in request.form else None
    if not picture.data.startswith(FILE_SIGNATURES):
        return refuse(request, WRONG_IMAGE_TYPE)
    return (
        refuse(request, IMAGE_TOO_LARGE)
        if len(picture.data) >= MAX_PICTURE_BYTES
        else None
    )


def _store_pictures(state: SimulatorState, request: ApiRequest) -> list[str]:
    """Store the pictures of a valid call and return their digests, in the post's order."""
    picture = request.files.get("pic")
    if picture is not None:
        return [state.store_media(picture.data)]
    return [
        _find_digest(state, request, pic_id) for pic_id in _get_picture_ids(request)
    ]


def _find_digest(state: SimulatorState, request: ApiRequest, pic_id: str) -> str:
    facts = state.get_row(PICTURES_TABLE, pic_id)
    return str(facts["sha256"]) if facts and facts["account"] == request.account else ""


def _get_picture_ids(request: ApiRequest) -> list[str]:
    return [
        each.strip()
        for each in (request.get_parameter("pic_id") or "").split(",")
        if each.strip()
    ]
