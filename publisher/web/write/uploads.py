"""Pictures that are added to the form of a post: kept at once, and shown beside their fields."""

import asyncio
import errno
import re
from dataclasses import replace

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from publisher.config import MEDIA_FOLDER
from publisher.domain.errors import NoSuchItemError, Problem, RefusedError
from publisher.engine.pictures import SUFFIXES, keep_picture
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.images import open_without_symlinks
from publisher.web.kit.site import get_site, get_visitor

PICTURE_NAME = re.compile(r"[^/\0]+(\.(?:jpe?g|png|gif))", re.IGNORECASE)
MEDIA_TYPES = {suffix: name for name, suffix in SUFFIXES.items()} | {
    ".jpeg": "image/jpeg"
}


async def keep_upload(
    request: Request, upload: UploadFile, fields: dict[str, list[str]], alt: str
) -> None:
    """Keep a picture and name it in the fields of the form, once.

    A problem with it is in the state of the request.
    """
    site, user = get_site(request), get_visitor(request).user.name
    try:
        async with site.render_turns.take(user):
            kept = await keep_picture(
                site.application.planner, await upload.read(), user
            )
    except (RefusedError, OSError) as error:
        kept = describe_failure(error)
    if isinstance(kept, Problem):
        facts = {**kept.facts, "file": upload.filename or ""}
        request.state.picture_problem = replace(kept, facts=facts)
        return
    files, alts = (fields.setdefault(f"image_{part}", []) for part in ("file", "alt"))
    alts += [""] * (len(files) - len(alts))
    if kept not in files:
        files.append(kept)
        alts.append(alt)
    removed = fields.get("image_removed", [])
    fields["image_removed"] = [file for file in removed if file != kept]
    request.state.added_pictures = [
        *getattr(request.state, "added_pictures", ()),
        kept,
    ]


def has_upload(request: Request) -> bool:
    """Return True if a picture came with the request, and was kept."""
    return bool(getattr(request.state, "added_pictures", ()))


def describe_failure(error: RefusedError | OSError) -> Problem:
    """Return why nothing could be written, as a problem of the whole post: the form has to stay."""
    if isinstance(error, RefusedError):
        return Problem(code=error.code, facts=error.facts)
    return Problem(
        code="web_write_failed",
        facts={"reason": error.strerror or type(error).__name__},
    )


async def show_picture(request: Request) -> Response:
    """Send a picture of media/ for the form. Raises NoSuchItemError.

    Each author may name any of these files in a post, and sees it in the preview.
    """
    name = str(request.path_params["name"])
    found = PICTURE_NAME.fullmatch(name)
    if found is None:
        raise NoSuchItemError("picture", name)
    folder = get_site(request).settings.staff_folder / MEDIA_FOLDER

    def read() -> bytes:
        with open_without_symlinks(folder / name, folder) as opened:
            return opened.read(MAX_PICTURE_BYTES)

    try:
        data = await asyncio.to_thread(read)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENOTDIR}:
            raise
        raise NoSuchItemError("picture", name) from error
    return Response(data, media_type=MEDIA_TYPES[found[1].lower()])
