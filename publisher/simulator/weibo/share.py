"""statuses/share, the one way in which an ordinary app may publish (open.weibo.com wiki 2/statuses/share)."""

from collections.abc import Callable
from urllib.parse import urlsplit

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import refuse, status
from .ids import Mids
from .sign_in import SignIn
from .text import LINK, has_topic, length, shorten, strip_topics

LONGEST = 140
PICTURE_BYTES = 5 * 1024 * 1024
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")


class Share:
    """Checks in the order: rate and sign-in, parameters, picture, length, domain, repetition."""

    def __init__(self, world: World, sign_in: SignIn, mids: Mids) -> None:
        self.world = world
        self._sign_in = sign_in
        self._mids = mids
        self._checks: tuple[Callable[[Call], Answer | None], ...] = (
            self._parameters,
            self._picture,
            self._length,
            self._domain,
            self._repetition,
        )

    def __call__(self, call: Call) -> Answer:
        refusal = self._sign_in.refusal(call, "POST")
        if refusal:
            return refusal
        for check in self._checks:
            refusal = check(call)
            if refusal:
                return refusal
        return self._publish(call)

    def _parameters(self, call: Call) -> Answer | None:
        text = call.value("status")
        if text is None:
            return refuse(call, 10016, "status")
        if not text.strip():
            return refuse(call, 20008)
        if self.world.settings.weibo_rip == "strict" and not call.value("rip"):
            return refuse(call, 10016, "rip")
        if self.world.settings.weibo_hashtag == "reject" and has_topic(text):
            return refuse(call, 10017, message="Parameter (status)'s value invalid, expect (no topic)")
        return None

    def _picture(self, call: Call) -> Answer | None:
        picture = call.files.get("pic")
        if picture is None:
            return refuse(call, 20007) if "pic" in call.form else None
        if not picture.data.startswith(SIGNATURES):
            return refuse(call, 20005)
        return refuse(call, 20006) if len(picture.data) >= PICTURE_BYTES else None

    def _length(self, call: Call) -> Answer | None:
        return refuse(call, 20012) if length(_text(call)) > LONGEST else None

    def _domain(self, call: Call) -> Answer | None:
        text = _text(call)
        links = LINK.findall(text) if "http" in text.lower() else []
        bound = self.world.settings.weibo_safe_domains
        if any(not bound or urlsplit(link).hostname in bound for link in links):
            return None
        return refuse(call, 10017)

    def _repetition(self, call: Call) -> Answer | None:
        settings, now = self.world.settings, self.world.now()
        if settings.weibo_duplicates == "off":
            return None
        standing = (post for post in reversed(self.world.of("weibo", call.account)) if post.state != "removed")
        for post in standing:
            if now - post.created > settings.weibo_duplicate_seconds:
                return None
            if post.extra.get("sent") == _text(call):
                return refuse(call, 20019)
            if settings.weibo_duplicates == "last":
                return None
        return None

    def _publish(self, call: Call) -> Answer:
        now = self.world.now()
        text, links = shorten(strip_topics(_text(call)))
        picture = call.files.get("pic")
        images = [self.world.store_media(picture.data)] if picture else []
        extra = {"sent": _text(call), "url_objects": links}
        post = Post(self._mids.next(now), "weibo", call.account, now, text, images=images, extra=extra)
        self.world.create(call, post)
        if post.state == "review":
            return refuse(call, 20032)
        return Answer.of(status(post, self.world.account("weibo", call.account)))


def _text(call: Call) -> str:
    return call.value("status") or ""
