"""The calls that make a post (open.weibo.com wiki 2/statuses/share, update, upload; C/2/statuses/…/biz).

An ordinary app may share, with a link on a domain of its own; all others are granted.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import refuse, status
from .ids import Mids
from .likeness import Likeness
from .pictures import Pictures
from .sign_in import SignIn
from .text import LINK, has_topic, length, shorten, strip_topics

LONGEST = 140
NOTE_LIMIT = 512
UNREVIEWED = "未通过审核应用"
MISSING, WRONG, EMPTY, TOO_LONG, FAR_TOO_LONG = 10016, 10017, 20008, 20012, 20049
NO_DOMAIN, BAD_VISIBLE, SLOW, TOO_OFTEN = 10017, 20121, 20032, 20016
ONLY_ME, GROUP = "1", "3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One creating call: what must be granted for it, how pictures come, and what it asks of the words."""

    grant: str = ""
    picture: Literal["may", "must", "none", "stored"] = "none"
    is_strict: bool = False
    """A link on a bound domain is needed, topics lose their marks, nothing unseen goes along."""
    may_be_long: bool = False


WAYS = {
    "/2/statuses/share.json": Way(picture="may", is_strict=True),
    "/2/statuses/update.json": Way(grant="update", may_be_long=True),
    "/2/statuses/upload.json": Way(grant="update", picture="must"),
    "/2/statuses/update/biz.json": Way(grant="biz", may_be_long=True),
    "/2/statuses/upload_url_text/biz.json": Way(grant="biz", picture="stored", may_be_long=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A post to be: `extra` is what goes along unseen."""

    id: str
    text: str
    extra: dict[str, Any]
    images: list[str] = field(default_factory=list)
    title: str = ""
    html: str = ""


class Writing:
    """Checks in the order: sign-in and rate, parameters, picture, length, domain, words, repetition."""

    def __init__(self, world: World, sign_in: SignIn, mids: Mids) -> None:
        self.world = world
        self.pictures = Pictures(world)
        self.likeness = Likeness(world)
        self._sign_in = sign_in
        self._mids = mids
        self._checks: Sequence[Callable[[Call, Way], Answer | None]] = (
            self._parameters,
            self._unseen,
            self._picture,
            self._length,
            self._domain,
            self._words,
            self._repetition,
        )

    def endpoint(self, way: Way) -> Callable[[Call], Answer]:
        return lambda call: self._write(call, way)

    def _write(self, call: Call, way: Way) -> Answer:
        refusal = self._sign_in.refusal(call, "POST", way.grant, is_publishing=True)
        if refusal:
            return refusal
        for check in self._checks:
            refusal = check(call, way)
            if refusal:
                return refusal
        return self._publish(call, way)

    def _parameters(self, call: Call, way: Way) -> Answer | None:
        text = call.value("status")
        if text is None:
            return refuse(call, MISSING, "status")
        if not text.strip():
            return refuse(call, EMPTY)
        if self.world.settings.weibo_rip == "strict" and not call.value("rip"):
            return refuse(call, MISSING, "rip")
        if way.is_strict and self.world.settings.weibo_hashtag == "reject" and has_topic(text):
            return refuse(call, WRONG, message="Parameter (status)'s value invalid, expect (no topic)")
        return None

    def _unseen(self, call: Call, way: Way) -> Answer | None:
        """What goes along without standing in the text; `share` takes nothing of the sort."""
        if way.is_strict:
            return None
        if call.value("visible") not in (None, "", "0", ONLY_ME, "2", GROUP):
            return refuse(call, BAD_VISIBLE)
        if call.value("visible") == GROUP and not call.value("list_id"):
            return refuse(call, MISSING, "list_id")
        for name, most in (("lat", 90), ("long", 180)):
            if call.value(name) and not _is_within(call.value(name) or "", most):
                return refuse(call, WRONG, name)
        note = call.value("annotations")
        return refuse(call, WRONG, "annotations") if note and not _is_note(note) else None

    def _picture(self, call: Call, way: Way) -> Answer | None:
        if way.picture == "stored":
            return self.pictures.stored_refusal(call)
        return None if way.picture == "none" else self.pictures.refusal(call, is_needed=way.picture == "must")

    def _length(self, call: Call, way: Way) -> Answer | None:
        size = length(_text(call))
        if size <= LONGEST:
            return None
        if not self._is_long(call, way):
            return refuse(call, TOO_LONG)
        return refuse(call, FAR_TOO_LONG) if size > self.world.settings.weibo_long_limit else None

    def _is_long(self, call: Call, way: Way) -> bool:
        """Whether a text may be longer: the call must take such, say so, and the user be entitled."""
        asked = way.may_be_long and call.value("is_longtext") == "1"
        return asked and self._sign_in.has(call.account, "long_text")

    def _domain(self, call: Call, way: Way) -> Answer | None:
        if not way.is_strict:
            return None
        text = _text(call)
        links = LINK.findall(text) if "http" in text.lower() else []
        bound = self.world.settings.weibo_safe_domains
        if any(not bound or urlsplit(link).hostname in bound for link in links):
            return None
        return refuse(call, NO_DOMAIN, message="text not find domain!")

    def _words(self, call: Call, _way: Way) -> Answer | None:
        code = self.likeness.forbidden(_text(call))
        return refuse(call, code) if code else None

    def _repetition(self, call: Call, _way: Way) -> Answer | None:
        if self.likeness.is_too_soon(call.account):
            return refuse(call, TOO_OFTEN)
        code = self.likeness.repetition(call.account, _text(call))
        return refuse(call, code) if code else None

    def _publish(self, call: Call, way: Way) -> Answer:
        text = strip_topics(_text(call)) if way.is_strict else _text(call)
        extra = {} if way.is_strict else _along(call)
        if length(text) > LONGEST:
            extra["long"] = True
        draft = Draft(id=self.next_id(), text=text, extra=extra, images=self._images(call, way))
        post = self.make(call, draft)
        if post.state == "review":
            return refuse(call, SLOW)
        return Answer.of(status(post, self.world.account("weibo", call.account), self.world.now()))

    def _images(self, call: Call, way: Way) -> list[str]:
        kept = [] if way.picture == "none" else self.pictures.keep(call)
        return self.pictures.keep_stand_in() if way.picture == "stored" and not kept else kept

    def next_id(self) -> str:
        return self._mids.next(self.world.now())

    def make(self, call: Call, draft: Draft) -> Post:
        """Put a post of the call's account into the world, its links made short."""
        now, settings = self.world.now(), self.world.settings
        text, links = shorten(draft.text) if settings.weibo_short_links else (draft.text, [])
        extra = {**draft.extra, "sent": _text(call) or draft.text, "url_objects": links}
        if settings.weibo_app == "test":
            extra["source"] = UNREVIEWED
        post = Post(draft.id, "weibo", call.account, now, text, draft.title, draft.html, draft.images)
        post.listed_from, post.extra = now + settings.weibo_listing_delay, extra
        return self.world.create(call, post)


def _along(call: Call) -> dict[str, Any]:
    """What goes along unseen, as the status gives it back."""
    extra: dict[str, Any] = {}
    if note := call.value("annotations"):
        given = json.loads(note)
        extra["annotations"] = given if isinstance(given, list) else [given]
    visible = call.value("visible") or "0"
    if visible != "0":
        extra |= {"visible": int(visible), "list_id": call.number_of("list_id", 0), "hidden": True}
    if call.value("lat") and call.value("long"):
        extra["geo"] = {"type": "Point", "coordinates": [float(call.value(name) or 0) for name in ("lat", "long")]}
    return extra


def _is_note(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return len(text) <= NOTE_LIMIT


def _is_within(text: str, most: int) -> bool:
    try:
        return -most <= float(text) <= most
    except ValueError:
        return False


def _text(call: Call) -> str:
    return call.value("status") or ""
