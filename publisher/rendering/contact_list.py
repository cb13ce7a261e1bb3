"""Lists of public numbers and of laws: the shipped ones, and the workspace's contacts.toml."""

import tomllib
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from publisher.domain.contacts import ContactLine, Contacts, TopicContacts
from publisher.domain.errors import InputError, Problem
from publisher.domain.template_rules import Law
from publisher.tomlfile.read import ReadLimits, read_toml
from publisher.tomlfile.validate import SingleLine, StrictModel, validate_table

CONTACTS_FILE: Final = "contacts.toml"
MAX_FILE_BYTES: Final = 64 * 1024


class ContactLineEntry(StrictModel):
    number: SingleLine
    use: SingleLine
    level: bool = False


class TopicEntry(StrictModel):
    short: SingleLine
    lines: list[ContactLineEntry] = Field(default_factory=list)


class ContactsFile(StrictModel):
    checked: date | None = None
    topic: dict[str, TopicEntry] = Field(default_factory=dict)
    phones: list[SingleLine] = Field(default_factory=list)
    source: dict[str, str] = Field(default_factory=dict)

    def merge_into(self, shipped: Contacts) -> Contacts:
        """Return the shipped contacts with the topics of this file added or replaced."""
        own = {
            name: TopicContacts(
                short=entry.short,
                lines=tuple(ContactLine(**line.model_dump()) for line in entry.lines),
            )
            for name, entry in self.topic.items()
        }
        return Contacts(
            topics={**shipped.topics, **own},
            checked=self.checked or shipped.checked,
            phones=tuple(self.phones),
        )


@cache
def shipped_contacts() -> Contacts:
    return ContactsFile.model_validate(_read_shipped(CONTACTS_FILE)).merge_into(
        Contacts()
    )


@cache
def shipped_laws() -> Sequence[Law]:
    return tuple(
        Law(**{key: value for key, value in law.items() if key != "source"})
        for law in _read_shipped("laws.toml")["law"]
    )


def _read_shipped(name: str) -> dict[str, Any]:
    path = Path(__file__).parent.parent / "data" / name
    return tomllib.loads(path.read_text("utf-8"))


def read_contacts(path: Path) -> tuple[Contacts, Sequence[Problem]]:
    """Return the contacts of a workspace, and the problems of its file.

    With a problem the shipped list stands. A missing file adds nothing.
    """
    shipped = shipped_contacts()
    if not path.exists():
        return shipped, ()
    try:
        document = read_toml(path, ReadLimits(max_bytes=MAX_FILE_BYTES))
    except InputError as error:
        return shipped, error.problems
    found = validate_table(ContactsFile, document.data)
    if isinstance(found, list):
        return shipped, document.locate_problems(found)
    return found.merge_into(shipped), ()
