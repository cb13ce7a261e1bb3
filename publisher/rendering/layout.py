"""The layout of a post: its lead, sections, contacts and signature, from its template's sample. Pure.

The shared pages print these; a template needs no page of its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeAlias

from publisher.domain.contacts import Contacts, choose_contacts, names_number
from publisher.domain.post import Post
from publisher.domain.values import (
    OTHERS,
    FieldForm,
    PrintedFigure,
    end_sentence,
    print_day,
)

SIGNATURE_KEYS: Final = {"source": "来源", "editor": "编辑", "checker": "审核"}
CONTACTS_WITHOUT_TIP_LINE: Final = frozenset({"none", "service"})
DEFAULT_SECTIONS: Final = (
    {"key": "body"},
    {"key": "advice", "heading": "防范提示", "as": "numbers"},
)
"""The sections of a template that names none."""
SECTION_KEYS: Final = frozenset({"key", "heading", "as", "text", "rows"})
SECTION_FORMS: Final = frozenset({"text", "bullets", "numbers", "figures", "rows"})
DEFAULT_LEAD: Final = ("{summary}",)
Sentence: TypeAlias = str | Sequence[str]
"""A pattern such as `{day}，{place}{person}`, or several of which the first complete one counts."""
_PAUSES: Final = ("，", "；", "、", "。")
_FIELD: Final = re.compile(r"\{([\w.-]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """The parts of a sample that say how its posts are laid out."""

    name: str = ""
    lead: Sequence[Sentence] = DEFAULT_LEAD
    short: Sequence[Sentence] = ()
    """The sentences of a short text, where they are others than the lead's."""
    sections: Sequence[Mapping[str, object]] = DEFAULT_SECTIONS
    contacts: str = "topic"
    topic: str = "fraud"
    """The topic of a post without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFacts:
    """The facts of one post and account that a layout is made of."""

    post: Post
    data: Mapping[str, object]
    """The post's data, as it is printed."""
    region: Mapping[str, str]
    original: str
    """The title of the post that this one follows, or nothing."""
    due: date
    words: str = ""
    """The post's own text for the platform, or nothing."""


def choose_topic(post: Post, outline: Outline) -> str:
    """Return the topic of a post: its kind's, its own, or its template's."""
    return post.kind.traits.topic or str(post.data.get("topic") or outline.topic)


def lay_out(
    outline: Outline, facts: LayoutFacts, contact_list: Contacts
) -> dict[str, object]:
    """Return the variable `form` of a page."""
    values = list_values(facts)
    topic = choose_topic(facts.post, outline)
    lead = fill_sentences(outline.lead, values)
    short = fill_sentences(outline.short, values) or lead
    contacts = choose_contacts(
        contact_list,
        outline.contacts if outline.contacts != "topic" else topic,
        facts.region,
        contact=str(facts.data.get("contact", "")),
        has_level=facts.post.level is not None,
    )
    if outline.contacts not in CONTACTS_WITHOUT_TIP_LINE and names_number(
        facts.words or short, facts.region.get("tip_line", "")
    ):
        contacts["short"] = ""  # the lead says it
    return {
        "name": outline.name,
        "lead": lead,
        "short": short,
        "sections": [
            laid_out
            for section in outline.sections
            if (laid_out := lay_out_section(section, facts.data, values, topic))
        ],
        "contacts": contacts,
        "signature": "　".join(
            f"{label}｜{facts.data[key]}"
            for key, label in SIGNATURE_KEYS.items()
            if facts.data.get(key)
        ),
        "day": print_day(facts.due, facts.due),
    }


def list_values(facts: LayoutFacts) -> dict[str, str]:
    """Return what a pattern may name; a figure's parts have names with a dot."""
    values = {
        "post.title": facts.post.title,
        "original.title": facts.original,
        "due": print_day(facts.due, facts.due),
        **{f"region.{key}": value for key, value in facts.region.items()},
    }
    for key, value in facts.data.items():
        if isinstance(value, (str, PrintedFigure)):
            values[key] = str(value)
        elif isinstance(value, list) and all(isinstance(line, str) for line in value):
            values[key] = "、".join(value)
        elif isinstance(value, list):
            named = [
                row
                for row in value
                if isinstance(row, PrintedFigure) and row.name != OTHERS
            ]
            if named:
                values[f"{key}.top"] = f"{named[0].name}{named[0].text}"
    return values


def fill_pattern(pattern: str, values: Mapping[str, str]) -> str | None:
    """Return a pattern with its fields filled in, None if one of them is missing or blank."""
    if not all(values.get(name, "").strip() for name in _FIELD.findall(pattern)):
        return None
    opening, *rest = _FIELD.split(pattern)
    return opening + "".join(
        _print_once(values[name].strip(), opening, following) + following
        for name, following in zip(rest[::2], rest[1::2], strict=True)
    )


def _print_once(value: str, opening: str, following: str) -> str:
    """Return a value without the words of its pattern that its writer typed too.

    These are the opening, such as 目前，, and a full stop before a comma.
    """
    shown = value
    if word := opening.rstrip("，："):
        shown = re.sub(rf"^{re.escape(word)}\s*[，,：:]\s*", "", shown)
    if following.startswith(_PAUSES):
        shown = shown.rstrip("。")
    return shown or value


def fill_sentences(patterns: Sequence[Sentence], values: Mapping[str, str]) -> str:
    """Return the sentences with all their fields; of alternatives the first complete one."""
    sentences = []
    for pattern in patterns:
        choices = [pattern] if isinstance(pattern, str) else pattern
        filled = (fill_pattern(choice, values) for choice in choices)
        sentences.append(next(filter(None, filled), ""))
    return "".join(map(end_sentence, sentences))


def lay_out_section(
    section: Mapping[str, object],
    data: Mapping[str, object],
    values: Mapping[str, str],
    topic: str,
) -> dict[str, object] | None:
    """Return a section for the pages, None if the post has nothing for it."""
    key, form = str(section.get("key", "")), str(section.get("as", "text"))
    laid_out: dict[str, object] = {
        "key": key,
        "heading": choose_heading(section.get("heading", ""), topic),
        "as": "body" if key == "body" else form,
    }
    if key == "body":
        return laid_out
    if isinstance(rows := section.get("rows"), list):
        filled = [(name, fill_pattern(text, values)) for name, text in rows]
        laid_out |= {
            "as": "rows",
            "rows": [[name, text, ""] for name, text in filled if text],
        }
        return laid_out if laid_out["rows"] else None
    if isinstance(text := section.get("text"), str):
        lines = [fill_pattern(text, values)]
    else:
        value = data.get(key)
        if form == "figures" and isinstance(value, (list, PrintedFigure)):
            laid_out["rows"] = [
                _print_row(row)
                for row in (value if isinstance(value, list) else [value])
            ]
            return laid_out
        lines = [str(line) for line in (value if isinstance(value, list) else [value])]
        lines = lines if value else []
    laid_out["lines"] = [line for line in lines if line]
    return laid_out if laid_out["lines"] else None


def _print_row(row: object) -> list[str]:
    """Return name, number and comparison of a figure, computed or as staff wrote it."""
    if isinstance(row, PrintedFigure):
        return [row.name, row.text, row.change or (row.share and f"占{row.share}")]
    if isinstance(row, Mapping):
        return [str(row.get("name", "")), str(row.get("value", "")), ""]
    return ["", str(row), ""]


def choose_heading(heading: object, topic: str) -> str:
    if isinstance(heading, Mapping):
        return str(heading.get(topic, heading.get("default", "")))
    return str(heading)


def read_outline(
    sample: Mapping[str, object], topics: Sequence[str]
) -> tuple[Outline, Sequence[str]]:
    """Return the outline in a sample's table, and the keys that are wrong in it."""
    wrong = []
    lead, short = sample.get("lead", DEFAULT_LEAD), sample.get("short", ())
    for key, value in (("lead", lead), ("short", short)):
        if not all(map(is_sentence, value)):  # type: ignore[call-overload]
            wrong.append(key)
    sections = sample.get("section", DEFAULT_SECTIONS)
    for number, section in enumerate(sections):  # type: ignore[arg-type,var-annotated]
        if not is_section(section):
            wrong.append(f"section[{number}]")
    contacts, topic = sample.get("contacts", "topic"), sample.get("topic", "fraud")
    known = {"topic", "none", "service", "tips", "police", *topics}
    if contacts not in known:
        wrong.append("contacts")
    if topic not in topics:
        wrong.append("topic")
    if wrong:
        return Outline(), wrong
    return Outline(
        name=str(sample.get("name", "")),
        lead=tuple(lead),  # type: ignore[arg-type]
        short=tuple(short),  # type: ignore[arg-type]
        sections=tuple(sections),  # type: ignore[arg-type]
        contacts=str(contacts),
        topic=str(topic),
    ), ()


def is_sentence(sentence: object) -> bool:
    choices = sentence if isinstance(sentence, list) else [sentence]
    return bool(choices) and all(isinstance(choice, str) for choice in choices)


def is_section(section: object) -> bool:
    if not isinstance(section, Mapping) or section.keys() - SECTION_KEYS:
        return False
    rows = section.get("rows", [])
    return (
        len({"key", "text", "rows"} & section.keys()) == 1
        and section.get("as", "text") in SECTION_FORMS
        and isinstance(section.get("text", ""), str)
        and isinstance(rows, list)
        and all(
            isinstance(row, list)
            and len(row) == 2
            and all(isinstance(cell, str) for cell in row)
            for row in rows
        )
    )


_FORM_KEYS: Final = {
    "type": str,
    "max": int,
    "items": int,
    "unit": str,
    "choices": dict,
    "parts_of": str,
}


def read_form(value: object, types: Sequence[str]) -> FieldForm | None:
    """Return the form of a field, written as its type or as a table; None if it is wrong."""
    table = {"type": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or table.get("type") not in types:
        return None
    if any(
        key not in _FORM_KEYS or type(each) is not _FORM_KEYS[key]
        for key, each in table.items()
    ):
        return None
    choices = table.get("choices", {})
    if not all(isinstance(label, str) for label in choices.values()):
        return None
    return FieldForm(**table)
