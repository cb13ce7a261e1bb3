"""Drafts as the form of a post makes and shows them: the first typed text or picture begins one."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from publisher.domain.errors import NoSuchItemError
from publisher.schedule.edit import Entry, list_fields, make_entry
from publisher.store.people.drafts import Draft
from publisher.web.kit.page import redirect
from publisher.web.kit.site import Notice, Visitor, get_site, get_visitor
from publisher.web.write.post_form import (
    clean_text,
    first,
    list_crops,
    list_pictures,
)
from publisher.web.write.typed_fields import Fields

TYPED_FIELDS = ("title", "data.summary", "body", "max_delay", "cron", "follows")
TYPED_PREFIXES = ("data.", "text.", "region.")
"""The fields that people type into. All others are choices, and have a value from the start."""
NEW_DRAFT = "new_draft"
"""The field with the id that the draft of a page gets, once something is typed."""
PAGE_FIELDS = frozenset(
    {
        "draft",
        NEW_DRAFT,
        "drawn",
        "tried",
        "do",
        "leaving",
        "start",
        "picture_alt",
        "move",
        "item",
        "library_text",
    }
)
"""Fields of the page that no draft keeps."""
DRAFT_ID = re.compile(r"[A-Za-z0-9_-]{12}")
MAX_NAME_CHARACTERS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftName:
    """A draft in the list: its title, or the first words of its text."""

    id: str
    name: str
    updated_at: datetime


def read_typed(fields: Fields) -> Mapping[str, str]:
    """Return the typed texts of a form by field, the title first."""
    own = [name for name in fields if name.startswith(TYPED_PREFIXES)]
    names = dict.fromkeys((*TYPED_FIELDS, *own))
    texts = {
        name: clean_text("\n".join(fields.get(name, ()))).strip() for name in names
    }
    return {name: text for name, text in texts.items() if text}


def digest_typed(fields: Fields) -> str:
    """Return a digest of the typed texts and the pictures of a form; empty if it has none."""
    typed = [
        *sorted(read_typed(fields).items()),
        *list_pictures(fields),
        *list_crops(fields),
    ]
    if not typed:
        return ""
    return hashlib.sha256(json.dumps(typed).encode()).hexdigest()[:16]


def dump_fields(fields: Fields) -> str:
    """Return a form as a draft keeps it."""
    kept = {
        name: values
        for name, values in fields.items()
        if name not in PAGE_FIELDS and any(values)
    }
    return json.dumps(kept, ensure_ascii=False)


async def keep_draft(
    request: Request, fields: Fields, post: str, *, is_awaited: bool = False
) -> tuple[datetime | None, str]:
    """Keep the typed content; return the time of saving, and the id of the draft.

    There is no draft, and the id is empty, as long as the content is that of the empty page. The
    time is None if the saving is to be tried again soon. `post` is the post of an edit. Raises
    RefusedError.
    """
    drafts, user = get_site(request).store.drafts, get_visitor(request).user.name
    draft_id, content = first(fields, "draft"), dump_fields(fields)
    if draft_id:
        with contextlib.suppress(
            NoSuchItemError
        ):  # it was saved or deleted in another window
            changed = await drafts.change(
                draft_id, user, content, is_awaited=is_awaited
            )
            return changed, draft_id
    elif digest_typed(fields) == first(fields, "start"):
        return None, ""
    new_id = first(fields, NEW_DRAFT)
    wanted = new_id if DRAFT_ID.fullmatch(new_id) else ""
    with contextlib.suppress(NoSuchItemError):  # its post has been saved meanwhile
        draft = await drafts.create(user, content, post or None, wanted)
        return draft.updated_at, draft.id
    return None, ""


def name_drafts(visitor: Visitor, drafts: Iterable[Draft]) -> Sequence[DraftName]:
    """Return the drafts for the list of their user."""
    return [
        DraftName(
            id=draft.id, name=name_draft(visitor, draft), updated_at=draft.updated_at
        )
        for draft in drafts
    ]


def name_draft(visitor: Visitor, draft: Draft) -> str:
    """Return the title of a draft, else its first words, else the post that it changes."""
    typed = read_typed(json.loads(draft.content))
    words = " ".join(next(iter(typed.values()), "").split())
    if not words:
        unnamed = "web_write_draft_of" if draft.post else "web_write_draft_untitled"
        return visitor.messages.translate(unnamed, post=draft.post or "")
    is_long = len(words) > MAX_NAME_CHARACTERS
    return words[:MAX_NAME_CHARACTERS] + ("…" if is_long else "")


async def delete_draft(request: Request) -> Response:
    draft = str(request.path_params["draft"])
    await get_site(request).store.drafts.delete(draft, get_visitor(request).user.name)
    return redirect(
        request,
        "/write",
        Notice(code="web_write_draft_deleted", undo=f"/write/{draft}/restore"),
    )


async def restore_draft(request: Request) -> Response:
    draft = str(request.path_params["draft"])
    await get_site(request).store.drafts.restore(draft, get_visitor(request).user.name)
    return redirect(request, f"/write/{draft}")


def settle(entry: Mapping[str, Any], base: Entry, fields: Fields) -> dict[str, Any]:
    """Take over from the post as it is now the fields that were chosen so after a conflict."""
    chosen = {
        name.removeprefix("pick.")
        for name in fields
        if name.startswith("pick.") and first(fields, name) == "theirs"
    }
    theirs, settled = list_fields(base), list_fields(entry)
    for key in chosen:
        settled.pop(key, None)
        if key in theirs:
            settled[key] = theirs[key]
    return make_entry(settled)
