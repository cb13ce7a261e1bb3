"""The preview as a page: all accounts side by side. It loads nothing and runs nothing."""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from publisher.domain.account import AccountId, Traits
from publisher.domain.post import Post
from publisher.messages import Messages
from publisher.rendering.press import Proof

_MEDIA = re.compile(r"media:([0-9a-f]{64})")


def page_of(messages: Messages, post: Post, due: datetime, proof: Proof, traits: Mapping[AccountId, Traits]) -> str:
    """Write the page; whatever staff wrote is escaped, and articles stand in frames that may do nothing."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (files("publisher.cli") / "preview.html").read_text("utf-8")
    return environment.from_string(source).render(
        post=post,
        due=f"{due:%Y-%m-%d %H:%M}",
        renditions=proof.renditions,
        traits=traits,
        address=lambda picture: _data(picture.sha256, proof),
        article=lambda text: _MEDIA.sub(lambda found: _data(found[1], proof), text),
        say=messages.say,
        lang=messages.lang.replace("_", "-"),
    )


def _data(sha256: str, proof: Proof) -> str:
    media_type, data = proof.media.get(sha256, ("image/png", b""))
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
