"""A change of one post that a person makes, and the result of saving it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from publisher.domain.account import AccountId
from publisher.domain.delivery import Actor
from publisher.domain.errors import Problem
from publisher.domain.post import Post, PostId
from publisher.schedule.edit import (
    Entry,
    FieldDifference,
    TextEdit,
)
from publisher.schedule.load import (
    RecipientResolver,
    ScheduleContext,
)
from publisher.store.people.saves import hash_text
from publisher.tomlfile.read import strip_editor_marks


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A person who writes posts.

    `may_write` returns True if they may for all of these accounts, `may_target` for these names of
    recipients, whatever accounts they come to stand for. `reach` are the accounts that they may
    see, None for all: nothing of a save names another post or account.
    """

    actor: Actor
    may_write: Callable[[Collection[AccountId]], bool]
    may_target: Callable[[Collection[str]], bool]
    reach: Collection[AccountId] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleText:
    """The start text of an edit: the file's, or the version in force if the file is older.

    `file_text` is the file's own. `is_valid`: it was loaded before, and is not parsed again.
    `version` is in force.
    """

    text: str
    file_text: str
    is_file_outdated: bool = False
    is_valid: bool = False
    version: int

    @property
    def sha256(self) -> str:
        return hash_text(strip_editor_marks(self.text))


@dataclass(frozen=True, slots=True, kw_only=True)
class PostChange:
    """A person's change of a post. `entry` is None to remove it.

    `base` is the post as the person began with it, None for a new one. `base_sha256` is the hash of
    the whole text. A new post may be a copy of `copied_from`, with the content of this hash; empty
    if it was not in force. `is_repair`: the copy is for the accounts that refused that post.
    `is_id_suggested`: nobody chose the id of a new one, so it gets a number if another post has it.
    """

    post: PostId
    entry: Entry | None
    base: Entry | None
    base_sha256: str
    copied_from: PostId | None = None
    copied_hash: str = ""
    is_repair: bool = False
    is_id_suggested: bool = False

    @property
    def is_emergency(self) -> bool:
        """True for an urgent post that is due at once."""
        entry = self.entry or {}
        return entry.get("urgent") is True and entry.get("at") == "asap"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedEdit:
    """The file is written; its text has this hash.

    `base_version` was in force when it was written.
    """

    id: PostId
    edit: TextEdit
    sha256: str
    base_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditConflict:
    """Nothing was saved: the post has changed, or the file is older than the version in force.

    `theirs` is the post as it is now, None if it is gone. `sha256` is the hash of its text.
    """

    differences: Sequence[FieldDifference]
    theirs: Entry | None
    sha256: str
    is_file_outdated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidEdit:
    """Nothing was saved: the post has problems, or the rest of the file has.

    The `path` of a problem of the post is its own key, such as `data.summary`.
    """

    own: Sequence[Problem] = ()
    elsewhere: Sequence[Problem] = ()


EditResult = SavedEdit | EditConflict | InvalidEdit


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEdit:
    """An edit that the loader accepts. `accounts` are the post's accounts before and after.

    `text` is the loaded text. `members` are the post itself, or those of its family; none if it is
    removed.
    """

    schedule: ScheduleText
    change: PostChange
    edit: TextEdit
    text: str
    members: Sequence[Post]
    posts: Mapping[PostId, Post]
    accounts: Collection[AccountId]
    fields: Collection[str]


def find_accounts(entry: Entry, context: ScheduleContext) -> Collection[AccountId]:
    """Return the accounts that a post of the file is for."""
    return RecipientResolver(context).resolve(list_recipients(entry))


def find_named_accounts(
    entry: Entry, context: ScheduleContext
) -> Collection[AccountId]:
    """Return the accounts that a post of the file names.

    Once one that is off is switched on, the post is for it.
    """
    return RecipientResolver(context).resolve_with_off(list_recipients(entry))


def list_recipients(entry: Entry) -> tuple[str, ...]:
    to = entry.get("to")
    return tuple(map(str, to)) if isinstance(to, list) else ()
