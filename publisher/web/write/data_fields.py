"""The fields of a post's template as the form draws them: labels, what is printed, and room left."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from publisher.domain.account import Capabilities
from publisher.domain.kinds import PostKind
from publisher.domain.user import Permission, may, may_somewhere
from publisher.domain.values import FieldForm, PrintedFigure, print_values
from publisher.engine.post_check import PostCheck
from publisher.rendering.layout import SIGNATURE_KEYS
from publisher.rendering.templates import SHORT_TEXT_LIMIT, TemplateSample
from publisher.web.kit.site import Site, Visitor
from publisher.web.write.post_form import default_template
from publisher.web.write.typed_fields import Fields, TypedField, list_template_fields

SHOWN_ROWS: Final = 3
"""Rows of an empty list, and so many blank ones follow the last: one can write without a script."""
_MORE: Final = frozenset({*SIGNATURE_KEYS, "level_basis"})
"""Offered fields that stand among the further ones."""
_PLAIN: Final = frozenset({"line", "lines", "text", "place", "choice", "flag", "link"})
"""Types that are printed as they are written."""
_NAMED: Final = re.compile(r"\{([\w-]+)[\w.-]*\}")
TOPICS: Final = (
    "fraud",
    "gambling",
    "drugs",
    "firearms",
    "netcrime",
    "other",
    "traffic",
    "missing",
    "emergency",
)
PART_OPTIONS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "sex": [
        ("", "web_write_choose"),
        ("女", "web_write_female"),
        ("男", "web_write_male"),
    ],
    "alias": [("", "web_write_masked"), ("true", "web_write_alias")],
    "compare": [("", "web_write_previous"), ("同比", "web_write_year_before")],
}
"""The choices of a part, each with the code of its label."""
_ISO: Final = {
    "day": r"\d{4}-\d\d-\d\d",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much more a field takes: characters, or items of a list. Negative for too much.

    `length` is the field's own at that moment, so that the page goes on counting from it.
    """

    left: int
    length: int
    unit: str = "characters"
    platform: str = ""
    """The platform whose text is the limit; empty if it is the field's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnField:
    """A field on the page."""

    field: TypedField
    label: str
    use: str
    is_needed: bool
    is_more: bool
    printed: str
    room: Room | None
    rows: int
    """How many rows of inputs a list has."""
    compare: str
    """The word of the template's example for a comparison."""
    prefix: str = ""
    """The beginning of the names of its inputs, if they are a region's."""

    @property
    def key(self) -> str:
        return self.field.key

    @property
    def form(self) -> FieldForm:
        return self.field.form

    @property
    def type(self) -> str:
        return self.field.form.type


def list_samples(site: Site) -> Mapping[str, TemplateSample]:
    return site.application.planner.post_renderer.templates.samples


def find_sample(site: Site, entry: Mapping[str, Any]) -> TemplateSample:
    """Return the sample of a post's template, an empty one if the template is unknown."""
    return list_samples(site).get(str(entry.get("template", "")), TemplateSample())


def follow_kind(fields: Fields, samples: Mapping[str, TemplateSample]) -> Fields:
    """Return the fields with the template of the kind, if another kind was chosen since the page.

    `drawn` is the kind and the template for which the page was drawn.
    """
    kind, _, template = next(iter(fields.get("drawn", ())), "").partition(" ")
    chosen = next(iter(fields.get("kind", ())), "")
    if not kind or chosen == kind or fields.get("template", [""])[0] != template:
        return fields
    return {**fields, "template": [default_template(chosen, samples)]}


def sign_form(
    fields: Fields, samples: Mapping[str, TemplateSample], name: str
) -> Fields:
    """Return the fields of a new form with its writer as the editor, if the template needs one."""
    kind = next(iter(fields.get("kind", ())), "")
    template = next(iter(fields.get("template", ())), default_template(kind, samples))
    sample = samples.get(template, TemplateSample())
    is_signed = "data.editor" in fields or any(fields.get("base", ()))
    if is_signed or "editor" not in sample.needs:
        return fields
    return {**fields, "data.editor": [name]}


async def list_checkers(visitor: Visitor, drawn: Sequence[DrawnField]) -> Sequence[str]:
    """Return the names to choose a checker from: who else may approve on the visitor's accounts.

    They are needed only if the template has the field.
    """
    if all(each.key != "checker" for each in drawn):
        return ()
    reach, members = visitor.reach(Permission.WRITE), visitor.site.members
    return [
        user.name
        for user in await visitor.site.store.users.list()
        if user.name != visitor.user.name
        and (
            may_somewhere(user, Permission.APPROVE)
            if reach is None
            else any(may(user, Permission.APPROVE, [key], members) for key in reach)
        )
    ]


def list_templates(
    samples: Mapping[str, TemplateSample], kind: str, chosen: str
) -> Sequence[str]:
    """Return the templates that a kind offers: its own first, and the chosen one in any case."""
    offered = [
        name
        for name, sample in sorted(samples.items())
        if name == chosen
        or kind in sample.kinds
        or (not sample.kinds and name not in set(PostKind))
    ]
    own = [kind] if kind in samples else []
    return list(dict.fromkeys([*own, *offered]))


def draw_fields(
    visitor: Visitor,
    fields: Fields,
    entry: Mapping[str, Any],
    check: PostCheck,
    due: date,
) -> Sequence[DrawnField]:
    """Return the fields of the post's template: topic, needed, offered, and the signature."""
    template = str(entry.get("template", ""))
    sample = list_samples(visitor.site).get(template, TemplateSample())
    data = entry.get("data", {})
    printed, _refused = print_values(sample.forms, data, due)
    shared = measure_shared(sample, entry, check)
    drawn = [
        DrawnField(
            field=field,
            label=visitor.messages.name_field(f"data.{field.key}").removeprefix(
                "data."
            ),
            use=sample.explain(field.key, visitor.lang),
            is_needed=field.key in sample.needs,
            is_more=field.key in _MORE - sample.needs.keys(),
            printed=show_printed(printed.get(field.key), data.get(field.key), field),
            room=measure_field(field, data.get(field.key), shared.get(field.key)),
            rows=count_rows(field, fields),
            compare=find_comparison(sample.example(field.key)),
        )
        for field in list_template_fields(sample)
    ]
    return sorted(
        drawn,
        key=lambda each: (
            each.key != "topic",
            each.key in SIGNATURE_KEYS,
            not each.is_needed,
        ),
    )


def draw_region(
    visitor: Visitor, fields: Fields, entry: Mapping[str, Any], code: str, due: date
) -> Sequence[DrawnField]:
    """Return the fields of the template as a region has them: each may stay empty."""
    prefix = f"region.{code}."
    sent = {
        name.removeprefix(prefix): texts
        for name, texts in fields.items()
        if name.startswith(prefix)
    }
    words = entry.get("region", {}).get(code, {})
    own = {"template": entry.get("template", ""), "data": words.get("data", {})}
    return [
        replace(each, prefix=prefix, is_needed=False, room=None)
        for each in draw_fields(visitor, sent, own, PostCheck(), due)
        if each.key != "topic" and not each.is_more
    ]


def list_other_fields(fields: Fields, drawn: Sequence[DrawnField]) -> Sequence[str]:
    """Return the inputs of a form that belong to other templates than the drawn one."""
    shown = {name for each in drawn for name in each.field.names}
    return [name for name in fields if name.startswith("data.") and name not in shown]


def list_topics(
    visitor: Visitor, sample: TemplateSample, chosen: str
) -> Sequence[tuple[str, str]]:
    """Return the topics with their labels: a post without one has its template's."""
    default = sample.outline.topic
    names = {
        topic: visitor.messages.translate(f"web_write_topic_{topic}")
        for topic in TOPICS
    }
    named = [
        (topic, label)
        for topic, label in names.items()
        if topic != default or topic == chosen
    ]
    return [("", names.get(default, default)), *named]


def count_rows(field: TypedField, fields: Fields) -> int:
    if not field.has_rows:
        return 1
    filled = max(len(fields.get(name, ())) for name in field.names)
    wanted = max(SHOWN_ROWS, filled + 1)
    return min(wanted, max(field.form.items, filled)) if field.form.items else wanted


def find_comparison(example: object) -> str:
    word = example.get("compare", "") if isinstance(example, Mapping) else ""
    return str(word) if word != "环比" else ""


def show_printed(printed: object, value: object, field: TypedField) -> str:
    """Return the printed form of a value, nothing if it was written so."""
    if field.form.type in _PLAIN or value is None or printed is value:
        return ""
    if isinstance(printed, list):
        return "；".join(
            f"{row.name} {row}" for row in printed if isinstance(row, PrintedFigure)
        )
    return str(printed)


def is_short(capabilities: Capabilities) -> bool:
    return capabilities.prefers_short or capabilities.text_limit < SHORT_TEXT_LIMIT


def measure_own(entry: Mapping[str, Any], check: PostCheck) -> Mapping[str, Room]:
    """Return the room of a post's own words by platform."""
    words = entry.get("text", {})
    return {
        room.platform: Room(
            left=room.limit - room.length, length=len(words[room.platform])
        )
        for room in check.rooms
        if words.get(room.platform)
    }


def measure_body(entry: Mapping[str, Any], check: PostCheck) -> Room | None:
    """Return the room of the body: that of the fullest text of the platforms that print it."""
    rooms = [
        (room.limit - room.length, str(room.platform))
        for room in check.rooms
        if not is_short(room.capabilities)
        and room.platform not in entry.get("text", {})
    ]
    if not rooms:
        return None
    left, platform = min(rooms)
    body = str(entry.get("body", ""))
    return Room(left=left, length=len(body.strip()), platform=platform)


def measure_shared(
    sample: TemplateSample, entry: Mapping[str, Any], check: PostCheck
) -> Mapping[str, tuple[int, str]]:
    """Return the room of the fullest short text, by each field that it is made of."""
    own_words = entry.get("text", {})
    rooms = [
        (room.limit - room.length, str(room.platform))
        for room in check.rooms
        if is_short(room.capabilities) and room.platform not in own_words
    ]
    if not rooms:
        return {}
    sentences = sample.outline.short or sample.outline.lead
    keys = {key for sentence in sentences for key in _NAMED.findall(str(sentence))}
    return dict.fromkeys(keys, min(rooms))


def measure_field(
    field: TypedField, value: object, shared: tuple[int, str] | None
) -> Room | None:
    """Return the room of a field: its own limit, or that of a text if there is less of it."""
    form = field.form
    if field.parts:
        return None
    if isinstance(value, list) or form.type == "lines":
        items = len(value) if isinstance(value, list) else 0
        return (
            Room(left=form.items - items, length=items, unit="items")
            if form.items
            else None
        )
    text = value if isinstance(value, str) else ""
    own = form.max - len(text) if form.max else None
    if form.type not in {"line", "text", "place"} or (own is None and shared is None):
        return None
    if shared is not None and (own is None or shared[0] < own):
        return Room(left=shared[0], length=len(text), platform=shared[1])
    return Room(left=own or 0, length=len(text))


def draw_templates(
    visitor: Visitor, samples: Mapping[str, TemplateSample], kind: str, chosen: str
) -> Sequence[tuple[str, str, str]]:
    """Return name, title and use of each template that a kind offers."""
    return [
        (
            name,
            samples[name].outline.name or name,
            samples[name].explain("about", visitor.lang).partition("：")[2]
            or samples[name].explain("about", visitor.lang),
        )
        for name in list_templates(samples, kind, chosen)
        if name in samples
    ]


def read_field_values(
    visitor: Visitor,
    fields: Fields,
    entry: Mapping[str, Any],
    check: PostCheck,
    due: date,
) -> Mapping[str, Any]:
    """Return the values of a page that draw the fields of the post's template."""
    samples, messages = list_samples(visitor.site), visitor.messages
    kind, chosen = str(entry.get("kind", "")), str(entry.get("template", ""))
    drawn = draw_fields(visitor, fields, entry, check, due)
    was_drawn = next(iter(fields.get("drawn", ())), "")
    topic = str(entry.get("data", {}).get("topic", ""))

    def label_part(part: str, parts: Sequence[str]) -> str:
        code = (
            f"web_write_part_{'person' if part == 'name' and 'sex' in parts else part}"
        )
        return messages.translate(code) if code in messages.entries else part

    return {
        "templates": draw_templates(visitor, samples, kind, chosen),
        "data_fields": drawn,
        "other_fields": list_other_fields(fields, drawn),
        "topics": list_topics(visitor, samples.get(chosen, TemplateSample()), topic),
        "is_redrawn": bool(was_drawn) and was_drawn != f"{kind} {chosen}",
        "own_rooms": measure_own(entry, check),
        "body_room": measure_body(entry, check),
        "choose_input": choose_input,
        "part_options": PART_OPTIONS,
        "part_label": label_part,
    }


def choose_input(kind: str, text: str) -> str:
    """Return the type of an input. A text that a picker cannot show stands in a plain one."""
    shape = "time" if kind == "time" else "day"
    is_shown = not text or re.fullmatch(_ISO[shape], text)
    if kind in {"day", "coming-day", "time"} and is_shown:
        return "datetime-local" if kind == "time" else "date"
    return "url" if kind == "link" else "text"
