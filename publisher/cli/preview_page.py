"""The preview as a page: all accounts side by side. It loads nothing and runs nothing."""

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from publisher.domain.account import AccountId, Capabilities
from publisher.domain.post import Post
from publisher.i18n import Messages
from publisher.rendering.renderer import RenderResult

_MEDIA = re.compile(r"media:([0-9a-f]{64})")


def preview_html(
    messages: Messages,
    post: Post,
    due: datetime,
    render_result: RenderResult,
    capabilities: Mapping[AccountId, Capabilities],
) -> str:
    """Write the page; whatever staff wrote is escaped, and articles stand in frames that may do nothing."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = (files("publisher.cli") / "preview.html").read_text("utf-8")
    return environment.from_string(source).render(
        post=post,
        due=f"{due:%Y-%m-%d %H:%M}",
        renditions=render_result.rendered_posts,
        traits=capabilities,
        address=lambda picture: _data_url(picture.sha256, render_result),
        article=lambda text: _MEDIA.sub(lambda found: _data_url(found[1], render_result), text),
        say=messages.translate,
        lang=messages.lang.replace("_", "-"),
    )


def _data_url(sha256: str, render_result: RenderResult) -> str:
    media_type, data = render_result.media.get(sha256, ("image/png", b""))
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
