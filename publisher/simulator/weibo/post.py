"""The calls that create a post (open.weibo.com wiki 2/statuses/share, update, upload; C/2/statuses/…/biz; Error_code).

Headline articles are a long text behind a short post (wiki Toutiao/api, 2022-11-29). Their responses have an envelope
of their own, except for a missing grant, which comes in the usual body.

An ordinary app may use `share`, with a link to a bound domain; every other call needs a grant.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .ids import PostIdGenerator
from .pictures import WeiboPictures
from .responses import format_status, refuse
from .sign_in import SimulatedWeiboAuth
from .text import LINK, count_characters, shorten_links, strip_topics

MAX_CHARACTERS, MAX_LONG_CHARACTERS = 140, 2000
MAX_ANNOTATION_LENGTH = 512
UNREVIEWED_APP_SOURCE = "未通过审核应用"
MISSING_PARAMETER, INVALID_PARAMETER, EMPTY_TEXT, TEXT_TOO_LONG, LONG_TEXT_TOO_LONG = 10016, 10017, 20008, 20012, 20049
UNBOUND_DOMAIN, DELAYED_SUCCESS, SAME_TEXT = 10017, 20032, 20019
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
    """True if the text needs a link to a bound domain, topics lose their marks, and annotations are ignored."""
    can_be_long: bool = False


CREATE_ENDPOINTS = {
    "/2/statuses/share.json": CreateEndpoint(picture="may", is_strict=True),
    "/2/statuses/update.json": CreateEndpoint(grant="update", can_be_long=True),
    "/2/statuses/upload.json": CreateEndpoint(grant="update", picture="must"),
    "/2/statuses/update/biz.json": CreateEndpoint(grant="biz", can_be_long=True),
    "/2/statuses/upload_url_text/biz.json": CreateEndpoint(grant="biz", picture="stored", can_be_long=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWeiboPost:
    """A post about to be created; `extra` holds what no reader sees."""

    id: str
    text: str
    extra: dict[str, Any]
    images: list[str] = field(default_factory=list)
    title: str = ""
    html: str = ""


class WeiboPostWriter:
    """Creates posts; checks in the order: sign-in and rate, parameters, picture, length, domain, repetition."""

    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth, post_ids: PostIdGenerator) -> None:
        self.state = state
        self._pictures = WeiboPictures(state)
        self._auth = auth
        self._post_ids = post_ids

    def handle(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse:
        refusal = (
            self._auth.check(request, "POST", endpoint.grant, is_publishing=True)
            or self._check_parameters(request, endpoint)
            or self._check_picture(request, endpoint)
            or self._check_text(request, endpoint)
        )
        if refusal:
            return refusal
        text = request.get_parameter("status") or ""
        text = strip_topics(text) if endpoint.is_strict else text
        extra = {} if endpoint.is_strict else _parse_annotations(request)
        if count_characters(text) > MAX_CHARACTERS:
            extra["long"] = True
        images = [] if endpoint.picture == "none" else self._pictures.store_pictures(request)
        if endpoint.picture == "stored" and not images:
            images = self._pictures.store_placeholder()
        mid = self._post_ids.next(self.state.now())
        post = self._create_post(request, NewWeiboPost(id=mid, text=text, extra=extra, images=images))
        if post.state == "review":
            return refuse(request, DELAYED_SUCCESS)
        account = self.state.ensure_account("weibo", request.account)
        return ApiResponse.from_json(format_status(post, account, self.state.now()))

    def _check_parameters(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        text = request.get_parameter("status")
        if text is None:
            return refuse(request, MISSING_PARAMETER, "status")
        if not text.strip():
            return refuse(request, EMPTY_TEXT)
        if self.state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
            return refuse(request, MISSING_PARAMETER, "rip")
        if endpoint.is_strict:
            return None
        annotations = request.get_parameter("annotations") or "0"
        try:
            json.loads(annotations)
        except ValueError:
            return refuse(request, INVALID_PARAMETER, "annotations")
        return refuse(request, INVALID_PARAMETER, "annotations") if len(annotations) > MAX_ANNOTATION_LENGTH else None

    def _check_picture(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        if endpoint.picture == "stored":
            return self._pictures.check_references(request)
        if endpoint.picture == "none":
            return None
        return self._pictures.check_upload(request, is_needed=endpoint.picture == "must")

    def _check_text(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        text = request.get_parameter("status") or ""
        size = count_characters(text)
        may_be_long = (
            endpoint.can_be_long
            and request.get_parameter("is_longtext") == "1"
            and self._auth.has_grant(request.account, "long_text")
        )
        if size > MAX_CHARACTERS and not may_be_long:
            return refuse(request, TEXT_TOO_LONG)
        if size > MAX_LONG_CHARACTERS:
            return refuse(request, LONG_TEXT_TOO_LONG)
        links = LINK.findall(text) if "http" in text.lower() else []
        bound = self.state.behaviour.weibo_safe_domains
        if endpoint.is_strict and not any(not bound or urlsplit(link).hostname in bound for link in links):
            return refuse(request, UNBOUND_DOMAIN, message="text not find domain!")
        return refuse(request, SAME_TEXT) if self._is_repeated(request.account, text) else None

    def publish_article(self, request: ApiRequest) -> ApiResponse:
        """Publish a headline article; in review the response carries the id as well."""
        refusal = self._auth.check(request, "POST", "article", is_publishing=True) or self._check_article(request)
        if refusal:
            return refusal
        title, html, text = (_get_article_parameter(request, name) for name in ("title", "content", "text"))
        mid = self._post_ids.next(self.state.now())
        number = f"2309404{mid}"
        url = f"https://weibo.com/ttarticle/p/show?id={number}"
        extra = {"articles": [{"title": title, "content": html, "author": "", "content_source_url": ""}]}
        draft = NewWeiboPost(id=mid, text=f"{text} {url}", extra=extra, title=title, html=html)
        self._create_post(request, draft)
        data = {"object_id": f"1022:{number}", "url": url, "mid": mid}
        return ApiResponse.from_json({"code": ARTICLE_SUCCESS, "msg": "", "data": data})

    def _check_article(self, request: ApiRequest) -> ApiResponse | None:
        given = {name: _get_article_parameter(request, name) for name in ARTICLE_FIELD_LIMITS}
        for name, limit in ARTICLE_FIELD_LIMITS.items():
            if not given[name].strip() or (limit and len(given[name]) > limit):
                return refuse(request, INVALID_ARTICLE_PARAMETER, message=f"param {name} invalid")
        if not given["cover"].startswith(("http://", "https://")):
            return refuse(request, INVALID_ARTICLE_PARAMETER, message="param cover invalid")
        if self.state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
            return refuse(request, INVALID_ARTICLE_PARAMETER, message="param rip invalid")
        return None

    def upload_picture(self, request: ApiRequest) -> ApiResponse:
        """Serve upload_pic, whose picture stays invisible until a post names it."""
        return (
            self._auth.check(request, "POST", "biz")
            or self._pictures.check_upload(request, is_needed=True)
            or self._pictures.register_picture(request)
        )

    def _create_post(self, request: ApiRequest, draft: NewWeiboPost) -> SimulatedPost:
        """Add a post of the caller's account to the state, with its links shortened."""
        text, links = shorten_links(draft.text)
        extra = {**draft.extra, "sent": request.get_parameter("status") or draft.text, "url_objects": links}
        if self.state.behaviour.weibo_app == "test":
            extra["source"] = UNREVIEWED_APP_SOURCE
        now = self.state.now()
        post = SimulatedPost(draft.id, "weibo", request.account, now, text, draft.title, draft.html, draft.images)
        post.extra = extra
        return self.state.create_post(request, post)

    def _is_repeated(self, account: str, text: str) -> bool:
        """True if the text is that of the account's last post, unless that is long ago."""
        if self.state.behaviour.weibo_duplicates == "off":
            return False
        kept = [post for post in self.state.get_posts("weibo", account) if post.state != "removed"]
        since = self.state.now() - REPETITION_SECONDS
        return bool(kept) and kept[-1].created >= since and kept[-1].extra.get("sent", "") == text


def _parse_annotations(request: ApiRequest) -> dict[str, Any]:
    """Return the annotations, which no reader sees, as the status gives them back."""
    annotations = request.get_parameter("annotations")
    if not annotations:
        return {}
    given = json.loads(annotations)
    return {"annotations": given if isinstance(given, list) else [given]}


def _get_article_parameter(request: ApiRequest, name: str) -> str:
    """Return a parameter; the caller percent-encodes the content once more than the transport does."""
    text = request.get_parameter(name) or ""
    return unquote(text) if name == "content" else text
