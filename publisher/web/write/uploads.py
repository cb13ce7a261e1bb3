"""Pictures of the form of a post: kept as they are added, shown beside their fields, reordered."""

import asyncio
import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from publisher.config import MEDIA_FOLDER
from publisher.domain.cover import COVER_RATIOS, MAX_ZOOM, CropPosition
from publisher.domain.errors import NoSuchItemError, Problem, RefusedError
from publisher.domain.post import PostImage, RenderedImage
from publisher.engine.pictures import SUFFIXES, KeptPicture, keep_picture
from publisher.rendering.image_formats import MAX_PICTURE_BYTES
from publisher.rendering.images import open_without_symlinks
from publisher.schedule.model import MAX_IMAGES
from publisher.store.people.drafts import PICTURE_PATH
from publisher.web.kit.site import Site, get_site, get_visitor
from publisher.web.write.post_form import (
    DEFAULT_CROP,
    first,
    list_pictures,
    read_crops,
)
from publisher.web.write.typed_fields import Fields

PICTURE_NAME = re.compile(r"[^/\0]+(\.(?:jpe?g|png|gif))", re.IGNORECASE)
MEDIA_TYPES = {suffix: name for name, suffix in SUFFIXES.items()} | {
    ".jpeg": "image/jpeg"
}
ONE_DAY = "private, max-age=86400"
"""An uploaded picture never changes: its name has its hash."""
ORIGINAL = re.compile(r"(media/\S+) (\d{1,5}) (\d{1,5}) (\d{1,9})")
"""A value of `image_original`: a picture's file, and its size before it was shrunk."""
MEGABYTE, KILOBYTE = 1_000_000, 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSize:
    """Width and height in pixels, and bytes."""

    width: int
    height: int
    size: int

    @property
    def bytes_in_words(self) -> str:
        if self.size < MEGABYTE // 10:
            return f"{max(1, round(self.size / KILOBYTE))} KB"
        return f"{self.size / MEGABYTE:.1f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRow:
    """A picture of the form: its size, and the one before it was shrunk, if each is known."""

    file: str
    alt: str
    now: PictureSize | None
    original: PictureSize | None
    crops: Mapping[str, CropPosition]
    """By the shape of a cover, as the sliders say."""

    @property
    def name(self) -> str:
        return self.file.partition("/")[2]


async def keep_upload(
    request: Request, upload: UploadFile, fields: dict[str, list[str]], alt: str
) -> None:
    """Keep a picture and name it in the fields of the form, once.

    A problem with it is in the state of the request.
    """
    site, user = get_site(request), get_visitor(request).user.name
    try:
        async with site.render_turns.take(user):
            kept: KeptPicture | Problem = await keep_picture(
                site.application.planner, await upload.read(), user
            )
    except (RefusedError, OSError) as error:
        kept = describe_failure(error)
    if isinstance(kept, Problem):
        facts = {**kept.facts, "file": upload.filename or ""}
        request.state.picture_problem = replace(kept, facts=facts)
        return
    if kept.is_shrunk:
        size = kept.original_width, kept.original_height, kept.original_bytes
        original = " ".join(map(str, (kept.path, *size)))
        fields.setdefault("image_original", []).append(original)
    add_picture(request, fields, kept.path, alt)


def add_picture(
    request: Request, fields: dict[str, list[str]], file: str, alt: str
) -> None:
    """Name a picture in the fields of the form, once."""
    files, alts = (fields.setdefault(f"image_{part}", []) for part in ("file", "alt"))
    alts += [""] * (len(files) - len(alts))
    if file not in files:
        files.append(file)
        alts.append(alt)
    removed = fields.get("image_removed", [])
    fields["image_removed"] = [each for each in removed if each != file]
    request.state.added_pictures = [
        *getattr(request.state, "added_pictures", ()),
        file,
    ]


def has_upload(request: Request) -> bool:
    """Return True if a picture came with the request, and was kept."""
    return bool(getattr(request.state, "added_pictures", ()))


def move_picture(fields: dict[str, list[str]]) -> None:
    """Change a picture's place with its neighbour's, as a button of the form says."""
    direction, _, file = first(fields, "move").partition(" ")
    pictures = [*list_pictures(fields)]
    places = {each: place for place, (each, _alt) in enumerate(pictures)}
    place = places.get(file, -1)
    other = place + {"up": -1, "down": 1}.get(direction, 0)
    if place < 0 or not 0 <= other < len(pictures):
        return
    pictures[place], pictures[other] = pictures[other], pictures[place]
    fields["image_file"] = [each for each, _alt in pictures]
    fields["image_alt"] = [alt for _file, alt in pictures]


def describe_failure(error: RefusedError | OSError) -> Problem:
    """Return why nothing could be written, as a problem of the whole post: the form has to stay."""
    if isinstance(error, RefusedError):
        return Problem(code=error.code, facts=error.facts)
    return Problem(
        code="web_write_failed",
        facts={"reason": error.strerror or type(error).__name__},
    )


async def read_rows(site: Site, fields: Fields) -> Sequence[PictureRow]:
    """Return the pictures of a form as its page shows them.

    The size of one that cannot be read is missing: its problem says why.
    """
    originals = {
        found[1]: PictureSize(
            width=int(found[2]), height=int(found[3]), size=int(found[4])
        )
        for text in fields.get("image_original", ())
        if (found := ORIGINAL.fullmatch(text))
    }
    pictures = list_pictures(fields)
    sizes = await asyncio.to_thread(
        lambda: [_read_size(site, file) for file, _alt in pictures[:MAX_IMAGES]]
    )
    sizes += [None] * (len(pictures) - len(sizes))
    return [
        PictureRow(
            file=file,
            alt=alt,
            now=size,
            original=originals.get(file),
            crops=_read_positions(fields, file),
        )
        for (file, alt), size in zip(pictures, sizes, strict=True)
    ]


def _read_positions(fields: Fields, file: str) -> Mapping[str, CropPosition]:
    crops = read_crops(fields, file)
    positions = {}
    for shape in COVER_RATIOS:
        x, y, zoom = crops.get(f"crop_{shape}", DEFAULT_CROP)
        positions[shape] = CropPosition(
            x=min(100, max(0, x)),
            y=min(100, max(0, y)),
            zoom=min(MAX_ZOOM, max(100, zoom)),
        )
    return positions


def _read_size(site: Site, file: str) -> PictureSize | None:
    folder, _, name = file.partition("/")
    if folder != MEDIA_FOLDER or PICTURE_NAME.fullmatch(name) is None:
        return None
    renderer = site.application.planner.post_renderer
    found = renderer.describe_picture(PostImage(file=file, alt=""))
    if not isinstance(found, RenderedImage):
        return None
    return PictureSize(width=found.width, height=found.height, size=found.size)


async def show_picture(request: Request) -> Response:
    """Send a picture of media/ for the form, with `?small` its thumbnail. Raises NoSuchItemError.

    Each author may name any of these files in a post, and sees it in the preview.
    """
    name = str(request.path_params["name"])
    found = PICTURE_NAME.fullmatch(name)
    if found is None:
        raise NoSuchItemError("picture", name)
    site = get_site(request)
    folder = site.settings.staff_folder / MEDIA_FOLDER

    def read() -> bytes:
        with open_without_symlinks(folder / name, folder) as opened:
            return opened.read(MAX_PICTURE_BYTES)

    try:
        data = await asyncio.to_thread(read)
    except OSError as error:
        if error.errno not in {errno.ENOENT, errno.ELOOP, errno.EISDIR, errno.ENOTDIR}:
            raise
        raise NoSuchItemError("picture", name) from error
    if "small" in request.query_params:
        data = await _shrink(request, name, data)
    is_upload = PICTURE_PATH.fullmatch(f"{MEDIA_FOLDER}/{name}")
    headers = {"cache-control": ONE_DAY} if is_upload else {}
    return Response(data, media_type=MEDIA_TYPES[found[1].lower()], headers=headers)


async def _shrink(request: Request, name: str, data: bytes) -> bytes:
    """Return a picture's thumbnail, once the renderer is the visitor's. Raises NoSuchItemError."""
    site = get_site(request)
    renderer = site.application.planner.post_renderer
    async with site.render_turns.take(get_visitor(request).user.name):
        small = await asyncio.to_thread(
            renderer.clean_pictures.shrink_to_thumbnail,
            data,
            renderer.templates.renderer,
        )
    if isinstance(small, Problem):
        raise NoSuchItemError("picture", name)
    return small
