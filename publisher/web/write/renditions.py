"""Parts of previews with responses of their own: pictures, and articles shut off from all else."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from publisher.domain.errors import NoSuchItemError
from publisher.domain.post import RenderedPost
from publisher.domain.user import Permission
from publisher.web.kit.preview import embed_media
from publisher.web.kit.site import get_site, get_visitor

ARTICLE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox"
)
"""An article brings its own styles, and may do nothing else."""
ARTICLE_PAGE = (
    '<!doctype html><html lang="zh-CN"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>{title}</title>'
    "<style>body{{margin:16px;font:17px/1.7 sans-serif;background:#fff;color:#222}}"
    "img{{max-width:100%;height:auto}}h1{{font-size:19px;line-height:1.4}}</style>"
    "<h1>{title}</h1>{body}</html>"
)


async def load_rendition(request: Request) -> RenderedPost:
    """Return the text of the path.

    Raises NoSuchItemError, also for one outside the visitor's accounts.
    """
    fingerprint = request.path_params["fingerprint"]
    rendered = await get_site(request).store.occurrences.rendition(fingerprint)
    if rendered is None or not get_visitor(request).may(
        Permission.VIEW, [rendered.account]
    ):
        raise NoSuchItemError("text", fingerprint)
    return rendered


async def show_article(request: Request) -> Response:
    """Show the HTML of an article as it is sent, with its pictures inside.

    Raises NoSuchItemError.
    """
    site, rendered = get_site(request), await load_rendition(request)
    pictures = {}
    for image in rendered.images:
        if found := await site.store.occurrences.media(image.sha256):
            pictures[image.sha256] = found
    return article_response(rendered.title, embed_media(rendered.text, pictures))


def article_response(title: str, body: str) -> Response:
    """Return an article as the page of a frame."""
    escaped = title.replace("&", "&amp;").replace("<", "&lt;")
    headers = {"content-security-policy": ARTICLE_POLICY}
    return HTMLResponse(ARTICLE_PAGE.format(title=escaped, body=body), headers=headers)


async def show_media(request: Request) -> Response:
    """Send a picture of a text. Raises NoSuchItemError."""
    sha256, rendered = request.path_params["sha256"], await load_rendition(request)
    is_part = sha256 in {image.sha256 for image in rendered.images}
    found = await get_site(request).store.occurrences.media(sha256) if is_part else None
    if found is None:
        raise NoSuchItemError("picture", sha256)
    return Response(found[1], media_type=found[0])
