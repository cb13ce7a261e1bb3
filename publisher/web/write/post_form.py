"""The form of a post: its fields as a browser sends them, and the post in schedule.toml. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import zip_longest
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.exceptions import HTTPException

from publisher.domain.characters import remove_forbidden_characters
from publisher.domain.errors import ScheduleError
from publisher.domain.kinds import PostKind
from publisher.domain.post import find_family
from publisher.rendering.templates import TemplateSample
from publisher.schedule.edit import (
    REGION_KEY,
    TABLE_KEYS,
    Entry,
    add_post,
    list_fields,
    make_entry,
)
from publisher.schedule.load import post_tables
from publisher.schedule.model import ASAP
from publisher.tomlfile.read import ReadLimits, parse_toml
from publisher.web.kit.pinyin import spell_syllables
from publisher.web.write.typed_fields import Fields, list_template_fields

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
REPEATS: Final = ("daily", "working", *WEEKDAYS, "cron")
"""How often a post may repeat: in words, or by a cron expression of one's own."""
MAX_POST_FIELDS, MAX_FORM_CHARACTERS, MAX_FIELD_CHARACTERS = 300, 300_000, 60_000
"""More than the longest post has. The form of an edit also carries the post before it."""
MAX_ITEMS, MAX_VALUES, MAX_RECIPIENTS = 300, 1_000, 2_000
"""Most items of a list or table of a post, most values of all, and most names in `to`.

Writing them takes their square.
"""
MAX_SHOWN_REGIONS: Final = 5
"""If more regions have words of their own, the form shows them one by one."""
EARLIER_POST_LIMITS: Final = ReadLimits(max_bytes=2**20)
MAX_ID_SYLLABLES: Final = 6
MAX_ID_CHARACTERS: Final = 40
"""So much of a title is read for an id."""
CROP_KEYS: Final = ("crop_wide", "crop_square")
DEFAULT_CROP: Final = [50, 50, 100]
"""What the platform does by itself: it cuts the largest part from the middle."""
DEFAULT, OWN = "default", "own"
"""The choices of a duration that is left out, and of one that somebody types."""
MAX_DELAYS: Final = ("1h", "2h", "6h", "24h")
EXPIRIES: Final[Mapping[str, timedelta]] = {
    "6h": timedelta(hours=6),
    "12h": timedelta(hours=12),
    "3d": timedelta(days=3),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
"""How long after its time a post expires, by the choice for it."""
LIST_KEYS: Final = ("to", "images")
_CRON_KEYS: Final = ("cron", "days", "from", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldGroup:
    """Fields that make up some keys of a post together, and how the keys are made of them."""

    fields: Sequence[str]
    keys: Sequence[str]
    read: Callable[[Fields], Mapping[str, Any]]


def first(fields: Fields, name: str) -> str:
    """Return the value of a field, empty if it was not sent."""
    return next(iter(fields.get(name, ())), "")


def require_length_of_post(fields: Fields) -> None:
    """Refuse a form that is longer than any post, before anything works on it.

    Raises HTTPException.
    """
    written = [
        value for name, values in fields.items() if name != "base" for value in values
    ]
    length = sum(map(len, written)) + len(first(fields, "base"))
    if (
        len(fields) > MAX_POST_FIELDS
        or length > MAX_FORM_CHARACTERS
        or max(map(len, written), default=0) > MAX_FIELD_CHARACTERS
    ):
        raise HTTPException(413)


def clean_text(text: str) -> str:
    """Return a text without the traces of word processors.

    They are line ends of their own, and invisible characters.
    """
    return remove_forbidden_characters(
        text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ")
    )


def fill_form(
    entry: Entry, zone: ZoneInfo, samples: Mapping[str, TemplateSample]
) -> dict[str, list[str]]:
    """Return the fields that show a post, with the inputs of its template."""
    entry = keep_shaped(entry)
    names = ("id", "kind", "template", "follows", "level", "title", "body")
    fields = {name: [str(entry[name])] for name in names if name in entry}
    fields |= fill_time(entry, zone)
    fields["to"] = [str(name) for name in entry.get("to", ())]
    if entry.get("urgent"):
        fields["urgent"] = ["1"]
    if isinstance(expires := entry.get("expires"), datetime):
        fields |= {**fill_instant("expires", expires, zone), "expires_for": [OWN]}
    if "max_delay" in entry:
        fields |= fill_delay(str(entry["max_delay"]))
    images = [image for image in entry.get("images", ()) if isinstance(image, Mapping)]
    fields["image_file"] = [str(image.get("file", "")) for image in images]
    fields["image_alt"] = [str(image.get("alt", "")) for image in images]
    fields |= {
        f"crop.{image.get('file', '')}": fill_crops(image)
        for image in images
        if any(key in image for key in CROP_KEYS)
    }
    fields |= {
        f"text.{name}": [str(words)] for name, words in entry.get("text", {}).items()
    }
    data = entry.get("data", {})
    sample = samples.get(entry.get("template", ""), TemplateSample())
    for field in list_template_fields(sample):
        if field.key in data:
            fields |= field.fill(data[field.key])
    if len(entry.get("region", ())) <= MAX_SHOWN_REGIONS:
        fields |= fill_regions(entry, sample)
    return fields


def fill_regions(entry: Entry, sample: TemplateSample) -> dict[str, list[str]]:
    """Return the fields that show the regions' own words."""
    return {
        f"region.{code}.{name}": texts
        for code, words in entry.get("region", {}).items()
        for name, texts in fill_words(list_fields(words), sample).items()
    }


def fill_words(words: Entry, sample: TemplateSample) -> dict[str, list[str]]:
    """Return the fields of a region's words, with the inputs of the template."""
    template = {f"data.{each.key}": each for each in list_template_fields(sample)}
    filled: dict[str, list[str]] = {}
    for key, value in words.items():
        filled |= template[key].fill(value) if key in template else {key: [str(value)]}
    return filled


def fill_time(entry: Entry, zone: ZoneInfo) -> dict[str, list[str]]:
    at, cron = entry.get("at"), entry.get("cron")
    if isinstance(at, datetime):
        return {"when": ["once"], **fill_instant("at", at, zone)}
    if not isinstance(cron, str):
        return {"when": ["asap"]} if at == ASAP else {}
    fields = {"when": ["repeat"], **fill_repeat(cron, str(entry.get("days", "all")))}
    for key in ("from", "until"):
        if isinstance(moment := entry.get(key), datetime):
            fields |= fill_instant(key, moment, zone)
    return fields


def fill_delay(delay: str) -> dict[str, list[str]]:
    """Return the choice for a delay; one that is no choice is typed."""
    if delay in MAX_DELAYS:
        return {"max_delay_for": [delay]}
    return {"max_delay_for": [OWN], "max_delay": [delay]}


def fill_instant(name: str, moment: datetime, zone: ZoneInfo) -> dict[str, list[str]]:
    local = moment.astimezone(zone) if moment.tzinfo else moment
    clock = f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"
    return {f"{name}_date": [f"{local:%Y-%m-%d}"], f"{name}_time": [clock]}


def fill_repeat(cron: str, days: str) -> dict[str, list[str]]:
    """Return a cron expression in words where there are words for it."""
    match cron.split():
        case [minute, hour, "*", "*", weekday] if is_clock_number(
            minute
        ) and is_clock_number(hour):
            clock = f"{int(hour):02}:{int(minute):02}"
            if weekday == "*":
                return {
                    "repeat": ["working" if days == "working" else "daily"],
                    "repeat_time": [clock],
                }
            if weekday in WEEKDAYS and days == "all":
                return {"repeat": [weekday], "repeat_time": [clock]}
    return {"repeat": ["cron"], "cron": [cron], "days": [days]}


def read_entry(
    fields: Fields,
    base: Entry,
    samples: Mapping[str, TemplateSample],
    zone: ZoneInfo,
    author: str,
) -> dict[str, Any]:
    """Return the post that the form makes of `base`. The base is empty for a new post.

    Unchanged fields keep their value: an instant with an offset, or data that no field shows.
    """
    sent = {
        name: [clean_text(value) for value in values] for name, values in fields.items()
    }
    before = fill_form(base, zone, samples)
    sent["image_crop"], before["image_crop"] = list_crops(sent), list_crops(before)
    entry = dict(base) or {"author": author}
    template = first(sent, "template") or default_template(first(sent, "kind"), samples)
    if template:
        sent["template"] = [template]
    for group in list_groups():
        if not base or any(
            sent_values(sent, name) != sent_values(before, name)
            for name in group.fields
        ):
            for key in group.keys:
                entry.pop(key, None)
            entry |= group.read(sent)
    read_texts(entry, sent, before)
    sample = samples.get(template, TemplateSample())
    read_data(entry, sent, before, sample)
    read_regions(entry, sent, sample)
    keys = {*sample.needs, *sample.offers}
    if template != base.get("template") and keys:
        entry["data"] = {
            key: value for key, value in entry["data"].items() if key in keys
        }
    return {key: value for key, value in entry.items() if value != {}}


def default_template(kind: str, samples: Mapping[str, TemplateSample]) -> str:
    return kind if kind in samples else next(iter(samples), "")


def sent_values(fields: Fields, name: str) -> list[str]:
    """Return the values of a field; one that is empty is as good as none."""
    return [value for value in fields.get(name, ()) if value]


def read_texts(entry: dict[str, Any], sent: Fields, before: Fields) -> None:
    """Read the fields `text.PLATFORM` into the post's own words for platforms."""
    values = dict(entry.get("text", {}))
    for field in (name for name in sent if name.startswith("text.")):
        if sent_values(sent, field) == sent_values(before, field):
            continue
        name, words = field.partition(".")[2], first(sent, field).strip()
        values.pop(name, None)
        if words:
            values[name] = words
    entry["text"] = values


def read_data(
    entry: dict[str, Any], sent: Fields, before: Fields, sample: TemplateSample
) -> None:
    """Read the inputs of the template's fields into the data of the post."""
    values = dict(entry.get("data", {}))
    for field in list_template_fields(sample):
        is_changed = any(
            sent_values(sent, name) != sent_values(before, name)
            for name in field.names
            if name in sent
        )
        if not is_changed:
            continue
        values.pop(field.key, None)
        if (value := field.read(sent)) is not None:
            values[field.key] = value
    entry["data"] = values


def read_regions(entry: dict[str, Any], sent: Fields, sample: TemplateSample) -> None:
    """Read the fields `region.CODE.KEY` into the regions' own words.

    What is left empty is common again. Regions without a field keep their words.
    """
    regions = dict(entry.get("region", {}))
    typed: dict[str, dict[str, Sequence[str]]] = {}
    for name, texts in sent.items():
        start, code, key = (*name.split(".", 2), "", "")[:3]
        if start == "region" and key:
            typed.setdefault(code, {})[key] = texts
    for code, fields in typed.items():
        words = read_words(list_fields(regions.pop(code, {})), fields, sample)
        if words:
            regions[code] = make_entry(words)
    entry["region"] = regions


def read_words(before: Entry, sent: Fields, sample: TemplateSample) -> Entry:
    """Return a region's words with the changes of its fields."""
    shown = fill_words(before, sample)
    changed = {
        name for name in sent if sent_values(sent, name) != sent_values(shown, name)
    }
    typed: dict[str, object] = {
        name: first(sent, name).strip() or None
        for name in changed
        if name in {"title", "body"} or name.startswith("text.")
    }
    for field in list_template_fields(sample):
        if not changed.isdisjoint(field.names):
            typed[f"data.{field.key}"] = field.read(sent)
    kept = {key: value for key, value in before.items() if key not in typed}
    return kept | {key: value for key, value in typed.items() if value is not None}


def list_groups() -> Iterable[FieldGroup]:
    """Return how the keys of a post are made of fields."""

    def text(name: str, *, is_required: bool = False) -> FieldGroup:
        def read(fields: Fields) -> Mapping[str, Any]:
            value = first(fields, name)
            value = value.rstrip() if name == "body" else value.strip()
            return {name: value} if value or is_required else {}

        return FieldGroup(fields=[name], keys=[name], read=read)

    yield text("id", is_required=True)
    yield text("kind", is_required=True)
    yield text("template", is_required=True)
    yield FieldGroup(fields=["follows", "kind"], keys=["follows"], read=read_follows)
    yield FieldGroup(fields=["level", "kind"], keys=["level"], read=read_level)
    yield text("title", is_required=True)
    yield text("body")
    times = (
        "at_date",
        "at_time",
        "repeat",
        "repeat_time",
        "cron",
        "days",
        "from_date",
        "from_time",
        "until_date",
    )
    yield FieldGroup(
        fields=["when", *times, "until_time"], keys=["at", *_CRON_KEYS], read=read_time
    )
    yield FieldGroup(fields=["to"], keys=["to"], read=read_recipients)
    yield FieldGroup(
        fields=["expires_date", "expires_time"], keys=["expires"], read=read_expiry
    )
    yield FieldGroup(
        fields=["max_delay", "max_delay_for"], keys=["max_delay"], read=read_delay
    )
    yield FieldGroup(
        fields=["urgent"],
        keys=["urgent"],
        read=lambda fields: {"urgent": True} if first(fields, "urgent") else {},
    )
    yield FieldGroup(
        fields=["image_file", "image_alt", "image_removed", "image_crop"],
        keys=["images"],
        read=read_images,
    )


def read_follows(fields: Fields) -> Mapping[str, Any]:
    kind, follows = first(fields, "kind"), find_family(first(fields, "follows").strip())
    needs = kind in set(PostKind) and PostKind(kind).traits.needs_original
    return {"follows": follows} if follows and needs else {}


def read_level(fields: Fields) -> Mapping[str, Any]:
    level = first(fields, "level")
    return {"level": level} if level else {}


def read_recipients(fields: Fields) -> Mapping[str, Any]:
    names = list(dict.fromkeys(filter(None, fields.get("to", ()))))
    return {"to": ["all"] if "all" in names else names}


def list_pictures(fields: Fields) -> Sequence[tuple[str, str]]:
    """Return file and description of each picture of a form, without the removed ones."""
    files, alts = fields.get("image_file", ()), fields.get("image_alt", ())
    removed = fields.get("image_removed", ())
    return [
        (file, alt)
        for file, alt in zip_longest(files, alts[: len(files)], fillvalue="")
        if file and file not in removed
    ]


def read_images(fields: Fields) -> Mapping[str, Any]:
    images = [
        {"file": file, "alt": alt.strip(), **read_crops(fields, file)}
        for file, alt in list_pictures(fields)
    ]
    return {"images": images} if images else {}


def fill_crops(image: Mapping[str, Any]) -> list[str]:
    """Return the values of the sliders of a picture: three for each shape of a cover."""
    crops = [image.get(key) for key in CROP_KEYS]
    return [
        str(value)
        for crop in crops
        for value in (crop if isinstance(crop, list) else DEFAULT_CROP)
    ]


def read_crops(fields: Fields, file: str) -> Mapping[str, list[int]]:
    """Return the crops of a picture by their key in a post; none for an untouched slider."""
    values = fields.get(f"crop.{file}", ())
    size = len(DEFAULT_CROP)
    if len(values) != len(CROP_KEYS) * size:
        return {}
    numbers = [int(value) if is_percentage(value) else -1 for value in values]
    crops = {
        key: numbers[size * place : size * (place + 1)]
        for place, key in enumerate(CROP_KEYS)
    }
    return {key: crop for key, crop in crops.items() if crop != DEFAULT_CROP}


def list_crops(fields: Fields) -> list[str]:
    """Return the crops of a form that differ from what the platform does by itself, as text."""
    return [
        f"{file} {crops}"
        for file, _alt in list_pictures(fields)
        if (crops := read_crops(fields, file))
    ]


def read_delay(fields: Fields) -> Mapping[str, Any]:
    choice, typed = first(fields, "max_delay_for"), first(fields, "max_delay").strip()
    delay = typed if choice in {"", OWN} else choice
    return {"max_delay": delay} if delay and delay != DEFAULT else {}


def choose_expiry(fields: Fields, now: datetime) -> Fields:
    """Return the fields with the expiry of the chosen duration, counted from the post's time.

    Without a single time ahead it is counted from now, the workspace's local time.
    """
    choice = first(fields, "expires_for")
    if choice == DEFAULT:
        return {**fields, "expires_date": [""], "expires_time": [""]}
    if choice not in EXPIRIES:
        return fields
    is_once = first(fields, "when") == "once"
    at = read_instant(first(fields, "at_date"), first(fields, "at_time"))
    start = at if is_once and isinstance(at, datetime) else now.replace(tzinfo=None)
    try:
        end = start + EXPIRIES[choice]
    except OverflowError:
        return fields
    return {
        **fields,
        "expires_date": [f"{end:%Y-%m-%d}"],
        "expires_time": [f"{end:%H:%M}"],
    }


def read_expiry(fields: Fields) -> Mapping[str, Any]:
    moment = read_instant(
        first(fields, "expires_date"), first(fields, "expires_time"), "23:59"
    )
    return {} if moment is None else {"expires": moment}


def read_time(fields: Fields) -> Mapping[str, Any]:
    match first(fields, "when"):
        case "asap":
            return {"at": ASAP}
        case "once":
            moment = read_instant(first(fields, "at_date"), first(fields, "at_time"))
            return {} if moment is None else {"at": moment}
        case "repeat":
            return read_repeat(fields)
        case _:
            return {}


def is_percentage(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3


def is_clock_number(text: str) -> bool:
    """True for an hour or a minute. A number of thousands of digits is an error of Python's."""
    return text.isdecimal() and len(text) <= 2


def read_repeat(fields: Fields) -> Mapping[str, Any]:
    repeat = first(fields, "repeat")
    if repeat == "cron":
        keys = {"cron": first(fields, "cron").strip(), "days": first(fields, "days")}
    else:
        hour, _, minute = first(fields, "repeat_time").partition(":")
        at = (
            f"{int(minute)} {int(hour)}"
            if is_clock_number(hour) and is_clock_number(minute)
            else "?"
        )
        keys = {"cron": f"{at} * * {repeat if repeat in WEEKDAYS else '*'}"}
        keys["days"] = "working" if repeat == "working" else "all"
    bounds = {
        key: read_instant(
            first(fields, f"{key}_date"), first(fields, f"{key}_time"), clock
        )
        for key, clock in (("from", "00:00"), ("until", "23:59"))
    }
    return {
        "cron": keys["cron"],
        **({"days": "working"} if keys["days"] == "working" else {}),
        **{key: moment for key, moment in bounds.items() if moment is not None},
    }


def read_instant(
    day: str, clock: str, default_clock: str = ""
) -> datetime | str | None:
    """Return an instant in the workspace's zone.

    Invalid text is returned as typed, for the loader to refuse.
    """
    if not day and not clock:
        return None
    try:
        return datetime.combine(
            date.fromisoformat(day), time.fromisoformat(clock or default_clock)
        )
    except ValueError:
        return f"{day} {clock}".strip()


def suggest_time(now: datetime) -> dict[str, list[str]]:
    """Return a time for a new post: the next full hour that is at least half an hour away."""
    soon = (now + timedelta(minutes=90)).replace(minute=0, second=0, microsecond=0)
    return {
        "at_date": [f"{soon:%Y-%m-%d}"],
        "at_time": [f"{soon:%H:%M}"],
        "repeat_time": [f"{soon:%H:%M}"],
    }


def suggest_id(title: str, now: datetime) -> str:
    """Return an id from a title in pinyin and the month.

    It is stable, and readable for a person that knows the post.
    """
    beginning = title[
        :MAX_ID_CHARACTERS
    ]  # the time of a long one grows with its square
    syllables = [
        part.lower()
        for part in spell_syllables(beginning, errors="ignore")
        if part.isascii() and part.isalnum()
    ]
    return "-".join([*syllables[:MAX_ID_SYLLABLES], f"{now:%Y-%m}"])[:60]


def dump_entry(entry: Entry) -> str:
    """Return a post as a text that a form can carry."""
    return add_post("", entry).text


def load_entry(text: str) -> Entry:
    """Return the post of such a text; an empty one if it is no post.

    A manipulated form may send such a text. Raises HTTPException for more values than a post has.
    """
    try:
        posts = post_tables(parse_toml(text, "", EARLIER_POST_LIMITS, ScheduleError))
    except ScheduleError:
        return {}
    entry = keep_shaped(posts[0]) if posts and isinstance(posts[0], dict) else {}
    require_number_of_values(entry)
    return entry


def keep_shaped(entry: Entry) -> Entry:
    """Return a post without its keys of a shape that they have in no post.

    A file under repair has such keys, or a manipulated form.
    """
    return {key: value for key, value in entry.items() if has_shape(key, value)}


def has_shape(key: str, value: object) -> bool:
    """Return True if a key of a post holds a list, a table or a single value as it should."""
    if key in LIST_KEYS:
        return isinstance(value, list)
    if key in TABLE_KEYS:
        return isinstance(value, Mapping)
    if key == REGION_KEY:
        return isinstance(value, Mapping) and all(
            isinstance(words, Mapping) and keep_shaped(words) == words
            for words in value.values()
        )
    return not isinstance(value, list | Mapping)


def require_number_of_values(entry: Entry) -> None:
    """Refuse a post with more values than any has, before it is written as TOML.

    Raises HTTPException.
    """
    if len(entry.get("to", ())) > MAX_RECIPIENTS:
        raise HTTPException(413)
    waiting: list[object] = [value for key, value in entry.items() if key != "to"]
    number = len(waiting)
    while waiting:
        value = waiting.pop()
        items = list(value.values()) if isinstance(value, Mapping) else value
        if not isinstance(items, list):
            continue
        number += len(items)
        if len(items) > MAX_ITEMS or number > MAX_VALUES:
            raise HTTPException(413)
        waiting += items


def show_value(value: object) -> str:
    """Return a field's value as a page shows it; nothing for one that is left out."""
    match value:
        case None:
            return ""
        case list():
            return "\n".join(map(show_value, value))
        case Mapping():
            return "　".join(map(str, value.values()))
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case _:
            return str(value)
