"""Rules of approval: the permitted approvers, and the changes since the last approval."""

import contextlib
import re
from collections.abc import (
    AsyncIterator,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from publisher.domain.account import AccountId, Platform
from publisher.domain.approval import Stage
from publisher.domain.delivery import Actor
from publisher.domain.differences import compare_sequences
from publisher.domain.errors import ApprovalError
from publisher.domain.post import PostId, RenderedPost
from publisher.domain.user import Permission, Principal, RefusalKind, User, holds_role
from publisher.rendering.markdown import article_lines
from publisher.store.approvals.decisions import (
    ApprovalTask,
    Approver,
    CheckTask,
    allow_task,
    find_refusal,
)
from publisher.store.store import Store

SENTENCE = re.compile(r"[^。！？；.!?;\n]*[。！？；.!?;\n]|[^。！？；.!?;\n]+")
REFUSALS_OF_PERSON = frozenset(
    {"approval_barred", "approval_wrong_stage", "release_not_allowed"}
)
"""Approvals that are refused because of the person, not because of a change in the meantime."""
MARKUP = re.compile(r"<[^>]*>")
CONTEXT_CHARACTERS = 30
"""How much unchanged text is shown before and after a difference."""


def make_approver(
    principal: Principal, members: Mapping[str, Collection[AccountId]]
) -> Approver:
    """Return a user as an approver, with the rights of roles and sign-in.

    `members` is from `list_members`.
    """

    def may_take(stage: Stage, accounts: Collection[AccountId]) -> bool:
        if Permission.APPROVE not in principal.scope:
            return False
        return holds_role(principal.user, stage.role, accounts, members, stage.name)

    def may(permission: Permission, accounts: Collection[AccountId]) -> bool:
        return principal.may(permission, accounts, members)

    return Approver(name=principal.user.name, may_take=may_take, may=may)


def waits_for(task: ApprovalTask, approver: Approver) -> bool:
    """Return True if a person may give the next approval of an occurrence."""
    return find_refusal(task, approver) is None


def list_approvers(
    task: ApprovalTask,
    users: Iterable[User],
    members: Mapping[str, Collection[AccountId]],
) -> Sequence[str]:
    """Return the names of the users with a right to the next approval of an occurrence."""
    people = [Principal(user=user, method="") for user in users]
    return [
        person.user.name
        for person in people
        if waits_for(task, make_approver(person, members))
    ]


async def approve_content(  # noqa: PLR0913, PLR0917 # who approves what, and the time that they have seen
    store: Store,
    post: PostId,
    fingerprint: str,
    approver: Approver,
    by: Actor,
    seen_at: datetime | None = None,
    check: CheckTask = allow_task,
) -> ApprovalTask:
    """Record an approval, and make due the work that waited for it. Raises ApprovalError.

    This does not wait for the daemon.
    """
    async with _noting_refusal(store, by):
        task = await store.approvals.approve(
            post, fingerprint, approver, by, seen_at, check
        )
    if task.status.is_approved:
        await store.maintenance.promote_requested([post])
    return task


async def release_in_emergency(  # noqa: PLR0913, PLR0917 # who releases what, and why
    store: Store,
    post: PostId,
    fingerprint: str,
    approver: Approver,
    by: Actor,
    reason: str,
    check: CheckTask = allow_task,
) -> ApprovalTask:
    """Record an emergency release, as `approve_content` does a yes."""
    async with _noting_refusal(store, by):
        task = await store.approvals.release_in_emergency(
            post, fingerprint, approver, by, reason, check
        )
    await store.maintenance.promote_requested([post])
    return task


@contextlib.asynccontextmanager
async def _noting_refusal(store: Store, by: Actor) -> AsyncIterator[None]:
    """Note that an approval was refused because of the person.

    A change in the meantime is no refusal.
    """
    try:
        yield
    except ApprovalError as error:
        if error.code in REFUSALS_OF_PERSON:
            await store.users.attempts.note_refusal(
                RefusalKind.APPROVAL, by.name, by.sign_in or ""
            )
        raise


class PieceKind(StrEnum):
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a text that is the same in both versions, or in one of them only."""

    kind: PieceKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextChange:
    """A difference in one field.

    It is the same on all of these accounts, except for the text around it.
    """

    field: str
    platform: Platform
    pieces: Sequence[Piece]
    accounts: Sequence[AccountId]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentChanges:
    """The differences between two contents of an occurrence."""

    texts: Sequence[TextChange]
    added_accounts: Sequence[AccountId]
    removed_accounts: Sequence[AccountId]

    @property
    def number_of_accounts(self) -> int:
        return len({account for change in self.texts for account in change.accounts})


def compare_contents(
    before: Iterable[RenderedPost],
    after: Iterable[RenderedPost],
    articles: Collection[AccountId] = (),
) -> ContentChanges:
    """Return the changes between two contents, each difference once with its accounts.

    `articles` are the accounts with the HTML of an article as their text.
    """
    old, new = (
        {rendered.account: rendered for rendered in contents}
        for contents in (before, after)
    )
    grouped: dict[
        tuple[str, Platform, tuple[Piece, ...]], tuple[Sequence[Piece], list[AccountId]]
    ] = {}
    for account in sorted(old.keys() & new.keys()):
        if old[account] == new[account]:
            continue
        fields_before, fields_after = (
            dict(list_fields(each[account], is_article=account in articles))
            for each in (old, new)
        )
        for name in fields_before.keys() | fields_after.keys():
            texts = fields_before.get(name, ""), fields_after.get(name, "")
            if texts[0] == texts[1]:
                continue
            pieces = compare_texts(*texts)
            changed = tuple(
                piece for piece in pieces if piece.kind is not PieceKind.SAME
            )
            grouped.setdefault((name, new[account].platform, changed), (pieces, []))[
                1
            ].append(account)
    return ContentChanges(
        texts=[
            TextChange(field=name, platform=platform, pieces=pieces, accounts=accounts)
            for (name, platform, _changed), (pieces, accounts) in sorted(
                grouped.items(), key=lambda item: item[0][:2]
            )
        ],
        added_accounts=sorted(new.keys() - old.keys()),
        removed_accounts=sorted(old.keys() - new.keys()),
    )


def list_fields(
    rendered: RenderedPost, *, is_article: bool
) -> Iterator[tuple[str, str]]:
    """Yield the visible parts of a rendered post by field; an article's markup is one of them."""
    text = article_lines(rendered.text) if is_article else rendered.text
    yield "title", rendered.title
    yield "summary", rendered.summary
    yield "text", "\n".join([text, *rendered.extra_parts])
    if is_article:
        yield "markup", "".join(MARKUP.findall(rendered.text))
    yield "link", rendered.link or ""
    yield (
        "images",
        "\n".join(f"{image.alt} [{image.sha256[:8]}]" for image in rendered.images),
    )
    crops = (text for image in rendered.images for text in image.crops.values())
    yield "cover", " ".join(filter(None, crops))


def compare_texts(before: str, after: str) -> Sequence[Piece]:
    """Return the equal and the different parts of two texts. Only near equal parts are kept.

    Whole sentences are compared first, and then the characters of the different ones.
    """
    pieces: list[Piece] = []
    old, new = SENTENCE.findall(before), SENTENCE.findall(after)
    for span in compare_sequences(old, new):
        removed, added = "".join(old[span.before]), "".join(new[span.after])
        if span.is_same:
            _add_piece(pieces, PieceKind.SAME, removed)
            continue
        for part in compare_sequences(removed, added):
            if part.is_same:
                _add_piece(pieces, PieceKind.SAME, removed[part.before])
            else:
                _add_piece(pieces, PieceKind.REMOVED, removed[part.before])
                _add_piece(pieces, PieceKind.ADDED, added[part.after])
    return [_shorten(piece, number, len(pieces)) for number, piece in enumerate(pieces)]


def _add_piece(pieces: list[Piece], kind: PieceKind, text: str) -> None:
    """Add a piece, to the last one if that is of the same kind."""
    if pieces and pieces[-1].kind is kind:
        text = pieces.pop().text + text
    if text:
        pieces.append(Piece(kind=kind, text=text))


def _shorten(piece: Piece, number: int, total: int) -> Piece:
    """Return a piece without the parts far from any difference."""
    text, most = piece.text, CONTEXT_CHARACTERS
    if piece.kind is not PieceKind.SAME or len(text) <= 2 * most:
        return piece
    before = "" if number == 0 else text[:most]
    after = "" if number == total - 1 else text[-most:]
    return Piece(kind=PieceKind.SAME, text=f"{before}…{after}")
