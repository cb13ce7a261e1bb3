"""Headline articles: long words behind a short post (open.weibo.com wiki Toutiao/api, 2022-11-29)."""

from urllib.parse import unquote

from publisher.simulator.call import Answer, Call

from .answers import refuse
from .sign_in import SignIn
from .writing import Draft, Writing

DONE = "100000"
LIMITS = {"title": 32, "content": 90_000, "cover": 0, "text": 1900}
"""What is needed, and how many characters it may have; 0 for any."""
WRONG, TOO_OFTEN = 10008, 11001


class Article:
    """Its answers have an envelope of their own; a missing grant comes in the usual body."""

    def __init__(self, sign_in: SignIn, writing: Writing) -> None:
        self._sign_in = sign_in
        self._writing = writing

    def __call__(self, call: Call) -> Answer:
        return (
            self._sign_in.refusal(call, "POST", "article", is_publishing=True)
            or self._parameters(call)
            or self._words(call)
            or self._publish(call)
        )

    def _parameters(self, call: Call) -> Answer | None:
        for name, limit in LIMITS.items():
            given = _given(call, name)
            if not given.strip() or (limit and len(given) > limit):
                return refuse(call, WRONG, message=f"param {name} invalid")
        if not _given(call, "cover").startswith(("http://", "https://")):
            return refuse(call, WRONG, message="param cover invalid")
        is_strict = self._writing.world.settings.weibo_rip == "strict"
        return refuse(call, WRONG, message="param rip invalid") if is_strict and not call.value("rip") else None

    def _words(self, call: Call) -> Answer | None:
        likeness = self._writing.likeness
        if likeness.is_too_soon(call.account):
            return refuse(call, TOO_OFTEN)
        code = likeness.forbidden("".join(_given(call, name) for name in ("title", "content", "text")))
        return refuse(call, code) if code else None

    def _publish(self, call: Call) -> Answer:
        """The post that leads to the article carries its address; in review it has a number already."""
        mid, title, html = self._writing.next_id(), _given(call, "title"), _given(call, "content")
        number = f"2309404{mid}"
        address = f"https://weibo.com/ttarticle/p/show?id={number}"
        article = {"title": title, "content": html, "author": "", "content_source_url": ""}
        text = f"{_given(call, 'text')} {address}"
        self._writing.make(call, Draft(id=mid, text=text, extra={"articles": [article]}, title=title, html=html))
        return Answer.of({"code": DONE, "msg": "", "data": {"object_id": f"1022:{number}", "url": address, "mid": mid}})


def _given(call: Call, name: str) -> str:
    """A parameter; the content is percent-encoded by the caller, on top of what its transport does."""
    text = call.value(name) or ""
    return unquote(text) if name == "content" else text
