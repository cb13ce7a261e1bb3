"""The calls that make a post (open.weibo.com wiki 2/statuses/share, update, upload; C/2/statuses/…/biz).

An ordinary app may share, with a link on a domain of its own; all others are granted.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .content_rules import ContentRules
from .ids import PostIdGenerator
from .pictures import WeiboPictures
from .responses import format_status, refuse
from .sign_in import SimulatedWeiboAuth
from .text import LINK, count_characters, has_topic, shorten_links, strip_topics

MAX_CHARACTERS = 140
MAX_ANNOTATION_LENGTH = 512
UNREVIEWED_APP_SOURCE = "未通过审核应用"
MISSING_PARAMETER, INVALID_PARAMETER, EMPTY_TEXT, TEXT_TOO_LONG, LONG_TEXT_TOO_LONG = 10016, 10017, 20008, 20012, 20049
UNBOUND_DOMAIN, INVALID_VISIBLE, DELAYED_SUCCESS, TOO_FREQUENT = 10017, 20121, 20032, 20016
VISIBLE_TO_SELF, VISIBLE_TO_GROUP = "1", "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateEndpoint:
    """One creating call: what must be granted for it, how pictures come, and what it asks of the words."""

    grant: str = ""
    picture: Literal["may", "must", "none", "stored"] = "none"
    is_strict: bool = False
    """A link on a bound domain is needed, topics lose their marks, nothing unseen goes along."""
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
    """A post to be: `extra` is what goes along unseen."""

    id: str
    text: str
    extra: dict[str, Any]
    images: list[str] = field(default_factory=list)
    title: str = ""
    html: str = ""


class WeiboPostWriter:
    """Checks in the order: sign-in and rate, parameters, picture, length, domain, words, repetition."""

    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth, post_ids: PostIdGenerator) -> None:
        self.state = state
        self.pictures = WeiboPictures(state)
        self.content_rules = ContentRules(state)
        self._auth = auth
        self._post_ids = post_ids
        self._checks: Sequence[Callable[[ApiRequest, CreateEndpoint], ApiResponse | None]] = (
            self._check_parameters,
            self._check_hidden_fields,
            self._check_picture,
            self._check_length,
            self._check_domain,
            self._check_words,
            self._check_repetition,
        )

    def make_handler(self, endpoint: CreateEndpoint) -> Callable[[ApiRequest], ApiResponse]:
        return lambda request: self._handle(request, endpoint)

    def _handle(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse:
        refusal = self._auth.check(request, "POST", endpoint.grant, is_publishing=True)
        if refusal:
            return refusal
        for check in self._checks:
            refusal = check(request, endpoint)
            if refusal:
                return refusal
        return self._publish(request, endpoint)

    def _check_parameters(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        text = request.get_parameter("status")
        if text is None:
            return refuse(request, MISSING_PARAMETER, "status")
        if not text.strip():
            return refuse(request, EMPTY_TEXT)
        if self.state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
            return refuse(request, MISSING_PARAMETER, "rip")
        if endpoint.is_strict and self.state.behaviour.weibo_hashtag == "reject" and has_topic(text):
            return refuse(request, INVALID_PARAMETER, message="Parameter (status)'s value invalid, expect (no topic)")
        return None

    def _check_hidden_fields(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        """What goes along without standing in the text; `share` takes nothing of the sort."""
        if endpoint.is_strict:
            return None
        if request.get_parameter("visible") not in (None, "", "0", VISIBLE_TO_SELF, "2", VISIBLE_TO_GROUP):
            return refuse(request, INVALID_VISIBLE)
        if request.get_parameter("visible") == VISIBLE_TO_GROUP and not request.get_parameter("list_id"):
            return refuse(request, MISSING_PARAMETER, "list_id")
        for name, most in (("lat", 90), ("long", 180)):
            if request.get_parameter(name) and not _is_within(request.get_parameter(name) or "", most):
                return refuse(request, INVALID_PARAMETER, name)
        note = request.get_parameter("annotations")
        return refuse(request, INVALID_PARAMETER, "annotations") if note and not _is_annotation(note) else None

    def _check_picture(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        if endpoint.picture == "stored":
            return self.pictures.check_references(request)
        return (
            None
            if endpoint.picture == "none"
            else self.pictures.check_upload(request, is_needed=endpoint.picture == "must")
        )

    def _check_length(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        size = count_characters(_get_status_text(request))
        if size <= MAX_CHARACTERS:
            return None
        if not self._is_long(request, endpoint):
            return refuse(request, TEXT_TOO_LONG)
        return refuse(request, LONG_TEXT_TOO_LONG) if size > self.state.behaviour.weibo_long_limit else None

    def _is_long(self, request: ApiRequest, endpoint: CreateEndpoint) -> bool:
        """Whether a text may be longer: the call must take such, say so, and the user be entitled."""
        asked = endpoint.can_be_long and request.get_parameter("is_longtext") == "1"
        return asked and self._auth.has_grant(request.account, "long_text")

    def _check_domain(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        if not endpoint.is_strict:
            return None
        text = _get_status_text(request)
        links = LINK.findall(text) if "http" in text.lower() else []
        bound = self.state.behaviour.weibo_safe_domains
        if any(not bound or urlsplit(link).hostname in bound for link in links):
            return None
        return refuse(request, UNBOUND_DOMAIN, message="text not find domain!")

    def _check_words(self, request: ApiRequest, _endpoint: CreateEndpoint) -> ApiResponse | None:
        code = self.content_rules.find_forbidden_code(_get_status_text(request))
        return refuse(request, code) if code else None

    def _check_repetition(self, request: ApiRequest, _endpoint: CreateEndpoint) -> ApiResponse | None:
        if self.content_rules.is_too_soon(request.account):
            return refuse(request, TOO_FREQUENT)
        code = self.content_rules.find_repetition_code(request.account, _get_status_text(request))
        return refuse(request, code) if code else None

    def _publish(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse:
        text = strip_topics(_get_status_text(request)) if endpoint.is_strict else _get_status_text(request)
        extra = {} if endpoint.is_strict else _get_hidden_fields(request)
        if count_characters(text) > MAX_CHARACTERS:
            extra["long"] = True
        draft = NewWeiboPost(id=self.next_id(), text=text, extra=extra, images=self._store_images(request, endpoint))
        post = self.create_post(request, draft)
        if post.state == "review":
            return refuse(request, DELAYED_SUCCESS)
        return ApiResponse.from_json(
            format_status(post, self.state.ensure_account("weibo", request.account), self.state.now())
        )

    def _store_images(self, request: ApiRequest, endpoint: CreateEndpoint) -> list[str]:
        kept = [] if endpoint.picture == "none" else self.pictures.store_pictures(request)
        return self.pictures.store_placeholder() if endpoint.picture == "stored" and not kept else kept

    def next_id(self) -> str:
        return self._post_ids.next(self.state.now())

    def create_post(self, request: ApiRequest, draft: NewWeiboPost) -> SimulatedPost:
        """Put a post of the call's account into the world, its links made short."""
        now, settings = self.state.now(), self.state.behaviour
        text, links = shorten_links(draft.text) if settings.weibo_short_links else (draft.text, [])
        extra = {**draft.extra, "sent": _get_status_text(request) or draft.text, "url_objects": links}
        if settings.weibo_app == "test":
            extra["source"] = UNREVIEWED_APP_SOURCE
        post = SimulatedPost(draft.id, "weibo", request.account, now, text, draft.title, draft.html, draft.images)
        post.listed_from, post.extra = now + settings.weibo_listing_delay, extra
        return self.state.create_post(request, post)


def _get_hidden_fields(request: ApiRequest) -> dict[str, Any]:
    """What goes along unseen, as the status gives it back."""
    extra: dict[str, Any] = {}
    if note := request.get_parameter("annotations"):
        given = json.loads(note)
        extra["annotations"] = given if isinstance(given, list) else [given]
    visible = request.get_parameter("visible") or "0"
    if visible != "0":
        extra |= {"visible": int(visible), "list_id": request.get_int("list_id", 0), "hidden": True}
    if request.get_parameter("lat") and request.get_parameter("long"):
        extra["geo"] = {
            "type": "Point",
            "coordinates": [float(request.get_parameter(name) or 0) for name in ("lat", "long")],
        }
    return extra


def _is_annotation(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return len(text) <= MAX_ANNOTATION_LENGTH


def _is_within(text: str, most: int) -> bool:
    try:
        return -most <= float(text) <= most
    except ValueError:
        return False


def _get_status_text(request: ApiRequest) -> str:
    return request.get_parameter("status") or ""
