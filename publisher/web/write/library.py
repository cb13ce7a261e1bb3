"""The pictures of the last year's posts: searched by title and description, added to the form."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.errors import RefusedError
from publisher.domain.user import Permission
from publisher.store.people.drafts import UsedPicture
from publisher.web.kit.page import render_page
from publisher.web.kit.site import get_site, get_visitor
from publisher.web.write.draft_form import PAGE_FIELDS, keep_draft
from publisher.web.write.post_form import first
from publisher.web.write.typed_fields import Fields
from publisher.web.write.uploads import PICTURE_NAME, add_picture

MAX_SHOWN = 60
"""Pictures of a page, newest first. For others people search."""
FORM_FIELDS = frozenset({"draft", "start"})
"""Fields of the page that the form needs again."""


async def show_library(request: Request, fields: Fields, edited: str) -> Response:
    """Keep a form as a draft, and show its writer the library. The page carries the form along.

    `edited` is the post that the form changes, empty for a new one.
    """
    with contextlib.suppress(RefusedError):  # the form is on the page in any case
        _saved_at, draft = await keep_draft(request, fields, edited, is_awaited=True)
        fields = {**fields, "draft": [draft]}
    text = first(fields, "library_text").strip()
    found = await find_pictures(request, text)
    kept = {
        name: values
        for name, values in fields.items()
        if name not in PAGE_FIELDS - FORM_FIELDS
    }
    return await render_page(
        request,
        "write/library",
        kept=kept,
        text=text,
        pictures=found[:MAX_SHOWN],
        number=len(found),
    )


async def add_chosen(request: Request, fields: dict[str, list[str]]) -> None:
    """Add the pictures of the library that the writer has ticked to the form."""
    if first(fields, "do") != "choose":
        return
    alts = {each.file: each.alt for each in await find_pictures(request, "")}
    for file in fields.get("item", ()):
        if file in alts:
            add_picture(request, fields, file, alts[file])


async def find_pictures(request: Request, text: str) -> Sequence[UsedPicture]:
    """Return the pictures of posts for accounts that the visitor sees, the latest saved first.

    Each is there once, and only while its file is.
    """
    site, accounts = get_site(request), get_visitor(request).reach(Permission.VIEW)
    used = await site.store.uploads.find_recent(accounts)
    return await asyncio.to_thread(
        select_pictures, used, text.casefold(), site.settings.staff_folder
    )


def select_pictures(
    used: Sequence[UsedPicture], text: str, folder: Path
) -> Sequence[UsedPicture]:
    """Return each picture with a text in title or description once, if its file is there."""
    found: dict[str, UsedPicture] = {}
    for each in used:
        if any(text in words.casefold() for words in (each.title, each.alt)):
            found.setdefault(each.file, each)
    return [
        each
        for each in found.values()
        if PICTURE_NAME.fullmatch(each.name) and (folder / each.file).is_file()
    ]
