"""The calls that create a post (open.weibo.com wiki 2/statuses/share, update, upload; C/2/statuses/…/biz).

An ordinary app may use `share`, with a link to a bound domain; every other call needs a grant.
"""

import json
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
    """One creating call: the grant it needs, how it takes pictures, and its rules for the text."""

    grant: str = ""
    picture: Literal["may", "must", "none", "stored"] = "none"
    is_strict: bool = False
    """True if the text needs a link to a bound domain, topics lose their marks, and hidden fields are ignored."""
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
    """A post about to be created; `extra` holds its hidden fields."""

    id: str
    text: str
    extra: dict[str, Any]
    images: list[str] = field(default_factory=list)
    title: str = ""
    html: str = ""


class WeiboPostWriter:
    """Creates posts; checks in the order: sign-in and rate, parameters, picture, length, domain, words, repetition."""

    def __init__(self, state: SimulatorState, auth: SimulatedWeiboAuth, post_ids: PostIdGenerator) -> None:
        self.state = state
        self.pictures = WeiboPictures(state)
        self.content_rules = ContentRules(state)
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
        extra = {} if endpoint.is_strict else _get_hidden_fields(request)
        if count_characters(text) > MAX_CHARACTERS:
            extra["long"] = True
        images = [] if endpoint.picture == "none" else self.pictures.store_pictures(request)
        if endpoint.picture == "stored" and not images:
            images = self.pictures.store_placeholder()
        post = self.create_post(request, NewWeiboPost(id=self.next_id(), text=text, extra=extra, images=images))
        if post.state == "review":
            return refuse(request, DELAYED_SUCCESS)
        return ApiResponse.from_json(
            format_status(post, self.state.ensure_account("weibo", request.account), self.state.now())
        )

    def _check_parameters(  # noqa: C901 # a list of guards, in the platform's order
        self, request: ApiRequest, endpoint: CreateEndpoint
    ) -> ApiResponse | None:
        text = request.get_parameter("status")
        if text is None:
            return refuse(request, MISSING_PARAMETER, "status")
        if not text.strip():
            return refuse(request, EMPTY_TEXT)
        if self.state.behaviour.weibo_rip == "strict" and not request.get_parameter("rip"):
            return refuse(request, MISSING_PARAMETER, "rip")
        if endpoint.is_strict:  # `share` takes no hidden fields
            if self.state.behaviour.weibo_hashtag == "reject" and has_topic(text):
                message = "Parameter (status)'s value invalid, expect (no topic)"
                return refuse(request, INVALID_PARAMETER, message=message)
            return None
        visible = request.get_parameter("visible")
        if visible not in (None, "", "0", VISIBLE_TO_SELF, "2", VISIBLE_TO_GROUP):
            return refuse(request, INVALID_VISIBLE)
        if visible == VISIBLE_TO_GROUP and not request.get_parameter("list_id"):
            return refuse(request, MISSING_PARAMETER, "list_id")
        for name, limit in (("lat", 90), ("long", 180)):
            try:
                is_valid = -limit <= float(request.get_parameter(name) or 0) <= limit
            except ValueError:
                is_valid = False
            if not is_valid:
                return refuse(request, INVALID_PARAMETER, name)
        annotations = request.get_parameter("annotations") or "0"
        try:
            json.loads(annotations)
        except ValueError:
            return refuse(request, INVALID_PARAMETER, "annotations")
        return refuse(request, INVALID_PARAMETER, "annotations") if len(annotations) > MAX_ANNOTATION_LENGTH else None

    def _check_picture(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        if endpoint.picture == "stored":
            return self.pictures.check_references(request)
        if endpoint.picture == "none":
            return None
        return self.pictures.check_upload(request, is_needed=endpoint.picture == "must")

    def _check_text(self, request: ApiRequest, endpoint: CreateEndpoint) -> ApiResponse | None:
        text, behaviour = request.get_parameter("status") or "", self.state.behaviour
        size = count_characters(text)
        may_be_long = (
            endpoint.can_be_long
            and request.get_parameter("is_longtext") == "1"
            and self._auth.has_grant(request.account, "long_text")
        )
        if size > MAX_CHARACTERS and not may_be_long:
            return refuse(request, TEXT_TOO_LONG)
        if size > MAX_CHARACTERS and size > behaviour.weibo_long_limit:
            return refuse(request, LONG_TEXT_TOO_LONG)
        links = LINK.findall(text) if "http" in text.lower() else []
        bound = behaviour.weibo_safe_domains
        if endpoint.is_strict and not any(not bound or urlsplit(link).hostname in bound for link in links):
            return refuse(request, UNBOUND_DOMAIN, message="text not find domain!")
        if code := self.content_rules.find_forbidden_code(text):
            return refuse(request, code)
        if self.content_rules.is_too_soon(request.account):
            return refuse(request, TOO_FREQUENT)
        code = self.content_rules.find_repetition_code(request.account, text)
        return refuse(request, code) if code else None

    def next_id(self) -> str:
        return self._post_ids.next(self.state.now())

    def create_post(self, request: ApiRequest, draft: NewWeiboPost) -> SimulatedPost:
        """Add a post of the caller's account to the state, with its links shortened."""
        now, behaviour = self.state.now(), self.state.behaviour
        text, links = shorten_links(draft.text) if behaviour.weibo_short_links else (draft.text, [])
        extra = {**draft.extra, "sent": request.get_parameter("status") or draft.text, "url_objects": links}
        if behaviour.weibo_app == "test":
            extra["source"] = UNREVIEWED_APP_SOURCE
        post = SimulatedPost(draft.id, "weibo", request.account, now, text, draft.title, draft.html, draft.images)
        post.listed_from, post.extra = now + behaviour.weibo_listing_delay, extra
        return self.state.create_post(request, post)


def _get_hidden_fields(request: ApiRequest) -> dict[str, Any]:
    """Return the fields that no reader sees, as the status gives them back."""
    extra: dict[str, Any] = {}
    if annotations := request.get_parameter("annotations"):
        given = json.loads(annotations)
        extra["annotations"] = given if isinstance(given, list) else [given]
    visible = request.get_parameter("visible") or "0"
    if visible != "0":
        extra |= {"visible": int(visible), "list_id": request.get_int("list_id", 0), "hidden": True}
    if request.get_parameter("lat") and request.get_parameter("long"):
        coordinates = [float(request.get_parameter(name) or 0) for name in ("lat", "long")]
        extra["geo"] = {"type": "Point", "coordinates": coordinates}
    return extra
