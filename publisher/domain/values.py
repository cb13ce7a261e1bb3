"""Typed values of a template's fields: read strictly, and printed as Chinese prints them. Pure.

Numbers are integers and decimals throughout, so that no sum or share carries a rounding error.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TypeAlias
from urllib.parse import urlsplit

MAX_AGE_OF_A_DAY: Final = timedelta(days=400)
"""A day further back is probably a mistyped year."""
MAX_NUMBER: Final = 10**15
ADULT_AGE: Final = 18
MAX_AGE: Final = 120
OTHERS: Final = "其他"
"""The name of the row with all that no other row has."""
_SURNAME: Final = r"[\u3400-\u9fff]{1,2}"
_MASKED_NAME: Final = re.compile(rf"{_SURNAME}某(?:某|[\u3400-\u9fff])?")
_MASKED_MINOR: Final = re.compile(rf"{_SURNAME}某")
_NUMERAL: Final = r"[\d〇零一二三四五六七八九十百]+"
_DOOR: Final = re.compile(
    rf"{_NUMERAL}\s*(?:号(?!线|口|出口|站台)|栋|幢|单元|室|弄)|小区\s*\d+"
)
_SENTENCE_ENDS: Final = ("。", "！", "？", "…", "；", ".", "!", "?")
_COMPARED: Final[Mapping[str, tuple[str, str]]] = {
    "环比": ("上期", "与上期持平"),
    "同比": ("上年同期", "与上年同期持平"),
}
"""The names of the earlier period, and of no change, by the word for the comparison."""


class WrongValueError(ValueError):
    """A value is refused: the code of a Problem, and its facts."""

    def __init__(self, code: str, **facts: str) -> None:
        super().__init__(code)
        self.code, self.facts = code, facts


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldForm:
    """The type of a field, and the limits and words that belong to it."""

    type: str = "text"
    max: int = 0
    """Most characters of a text or of each line; 0 for any number."""
    items: int = 0
    """Most lines, persons or rows; 0 for any number."""
    unit: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)
    """The values of a choice, each with its label."""
    parts_of: str = ""
    """The key of the figure that these rows make up together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedFigure:
    """A number as it is printed, with its change and its share, which are computed."""

    name: str
    text: str
    change: str = ""
    share: str = ""

    def __str__(self) -> str:
        parts = (self.text, self.share and f"占{self.share}", self.change)
        return "，".join(filter(None, parts))


Printed: TypeAlias = str | PrintedFigure | Sequence["str | PrintedFigure"]


def end_sentence(words: str) -> str:
    """End a text with a full stop unless it already ends with a punctuation mark."""
    words = words.strip()
    is_ended = words.rstrip("”’）》」』)\"'").endswith(_SENTENCE_ENDS)
    return words if is_ended or not words else f"{words}。"


def print_number(value: int) -> str:
    """Print a number in 万 from ten thousand, with one decimal, and in 亿 with two."""
    for unit, size, places in (("万", 10**4, "0.1"), ("亿", 10**8, "0.01")):
        rounded = (Decimal(value) / size).quantize(Decimal(places), ROUND_HALF_UP)
        if value >= size and (unit == "亿" or rounded < 10**4):
            return f"{rounded:f}".rstrip("0").rstrip(".") + unit
    # a number that rounds up to ten thousand 万 is 1亿
    return f"{value}" if value < 10**4 else "1亿"


def print_percentage(part: int, whole: int) -> str:
    """Print a share with one decimal."""
    share = Decimal(part) * 100 / Decimal(whole)
    return f"{share.quantize(Decimal('0.1'), ROUND_HALF_UP)}%"


def print_change(value: int, before: int, compare: str, unit: str) -> str:
    """Print the change against an earlier number: a difference if both are below ten."""
    earlier, unchanged = _COMPARED[compare]
    if value == before:
        return unchanged
    word = "多" if value > before else "少"
    if max(value, before) < 10:
        return f"比{earlier}{word}{abs(value - before)}{unit}"
    if not before:
        return f"{earlier}为0"
    if value >= 3 * before:
        times = (Decimal(value) / before).quantize(Decimal("0.1"), ROUND_HALF_UP)
        return f"是{earlier}的{times}倍"
    change = print_percentage(abs(value - before), before)
    if change == "0.0%":
        return unchanged
    return f"{compare}{'上升' if value > before else '下降'}{change}"


def print_day(value: date, due: date) -> str:
    """Print a day; one of another year than the post's with its year."""
    year = "" if value.year == due.year else f"{value.year}年"
    return f"{year}{value.month}月{value.day}日"


def print_values(
    forms: Mapping[str, FieldForm], data: Mapping[str, object], due: date
) -> tuple[dict[str, object], dict[str, WrongValueError]]:
    """Return a post's data with typed fields as they are printed, and the refusals by key.

    Fields without a form are returned as they are. Rows that make up another field have their
    shares of it.
    """
    printed, refused = dict(data), dict[str, WrongValueError]()
    for key, form in forms.items():
        if key not in data:
            continue
        try:
            printed[key] = _READERS[form.type](data[key], form, due)
            if form.parts_of and form.parts_of in data:
                whole = read_number(read_row(data[form.parts_of])["value"])
                printed[key] = _print_parts(data[key], form, whole)
        except WrongValueError as error:
            refused[key] = error
    return printed, refused


def read_text(value: object, form: FieldForm, _due: date) -> str:
    if not isinstance(value, str) or not value.strip():
        raise WrongValueError("template_data_wrong")
    text = value.strip()
    if form.max and len(text) > form.max:
        facts = {"length": str(len(text)), "limit": str(form.max)}
        raise WrongValueError("value_text_too_long", **facts)
    return text


def read_line(value: object, form: FieldForm, due: date) -> str:
    text = read_text(value, form, due)
    if "\n" in text:
        raise WrongValueError("value_of_several_lines")
    return text


def read_lines(value: object, form: FieldForm, due: date) -> list[str]:
    return [read_line(line, form, due) for line in read_items(value, form)]


def read_items(value: object, form: FieldForm) -> list[object]:
    """Return the items of a list with at least one, and not too many."""
    if not isinstance(value, list) or not value:
        raise WrongValueError("template_data_wrong")
    if form.items and len(value) > form.items:
        facts = {"number": str(len(value)), "limit": str(form.items)}
        raise WrongValueError("value_too_many", **facts)
    return value


def read_person(value: object, _form: FieldForm, _due: date) -> str:
    """Print a person without the given name, as 王某（女，46岁）."""
    if not isinstance(value, Mapping) or not (
        {"name", "sex", "age"} <= value.keys() <= {"name", "sex", "age", "alias"}
    ):
        raise WrongValueError("template_data_wrong")
    name, sex, age = value["name"], value["sex"], value["age"]
    if type(age) is not int or not 0 <= age <= MAX_AGE:
        raise WrongValueError("value_age_wrong", value=str(age)[:20])
    is_alias = value.get("alias", False)
    if not (
        isinstance(name, str) and sex in ("男", "女") and isinstance(is_alias, bool)
    ):
        raise WrongValueError("template_data_wrong")
    masked = f"{name[:1]}某"
    if not is_alias and len(name) == 1:  # a surname alone
        name = masked
    if age < ADULT_AGE and (is_alias or not _MASKED_MINOR.fullmatch(name)):
        raise WrongValueError("value_minor_named", value=name, masked=masked)
    if not is_alias and not _MASKED_NAME.fullmatch(name):
        raise WrongValueError("value_person_named", value=name, masked=masked)
    return f"{name}{'（化名）' if is_alias else ''}（{sex}，{age}岁）"


def read_persons(value: object, form: FieldForm, due: date) -> str:
    return "、".join(read_person(each, form, due) for each in read_items(value, form))


def read_place(value: object, form: FieldForm, due: date) -> str:
    """Return a place as it is written; its door is nobody's business."""
    text = read_line(value, form, due)
    if found := _DOOR.search(text):
        raise WrongValueError("value_place_exact", value=found[0])
    return text


def read_date(value: object) -> date:
    """Return a day of TOML, or of the database, which keeps it as a text."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise WrongValueError("template_data_wrong") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise WrongValueError("template_data_wrong")
    return value


def read_day(value: object, _form: FieldForm, due: date) -> str:
    day = read_date(value)
    _require_past(day, due)
    return print_day(day, due)


def read_coming_day(value: object, _form: FieldForm, due: date) -> str:
    """Print a day that may lie ahead, of an announcement."""
    return print_day(read_date(value), due)


def read_time(value: object, _form: FieldForm, due: date) -> str:
    """Print a day and its hour, as 1月10日21时."""
    if isinstance(value, str) and re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?", value
    ):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise WrongValueError("template_data_wrong") from None
    if not isinstance(value, datetime):
        raise WrongValueError("template_data_wrong")
    _require_past(value.date(), due)
    minutes = f"{value.minute}分" if value.minute else ""
    return f"{print_day(value.date(), due)}{value.hour}时{minutes}"


def _require_past(day: date, due: date) -> None:
    if day > due:
        raise WrongValueError("value_day_ahead", value=f"{day}", due=f"{due}")
    if due - day > MAX_AGE_OF_A_DAY:
        raise WrongValueError("value_day_too_old", value=f"{day}")


def read_period(value: object, form: FieldForm, due: date) -> str:
    """Print a period that is over, as 1月4日至10日; the forms of a week and of half a year too."""
    if not isinstance(value, Mapping) or value.keys() != {"from", "to"}:
        raise WrongValueError("template_data_wrong")
    first, last = read_date(value["from"]), read_date(value["to"])
    if last < first:
        raise WrongValueError("value_period_reversed", first=f"{first}", last=f"{last}")
    if last > due:
        raise WrongValueError("value_period_not_over", last=f"{last}", due=f"{due}")
    is_week = first.weekday() == 0 and last - first == timedelta(days=6)
    if form.type == "week" and not is_week:
        raise WrongValueError("value_not_a_week", first=f"{first}", last=f"{last}")
    halves = {((1, 1), (6, 30)), ((7, 1), (12, 31))}
    ends = ((first.month, first.day), (last.month, last.day))
    if form.type == "half-year" and (ends not in halves or first.year != last.year):
        facts = {"first": f"{first}", "last": f"{last}"}
        raise WrongValueError("value_not_a_half_year", **facts)
    start = f"{first.year}年{first.month}月{first.day}日"
    if first.year == last.year == due.year and form.type != "half-year":
        start = f"{first.month}月{first.day}日"
    year = f"{last.year}年" if last.year != first.year else ""
    month = f"{last.month}月" if year or last.month != first.month else ""
    return f"{start}至{year}{month}{last.day}日"


def read_number(value: object) -> int:
    """Return a whole number from 0 on; a text is none, nor a number with decimals."""
    if type(value) is not int or value > MAX_NUMBER:
        raise WrongValueError("value_not_a_number", value=str(value)[:40])
    if value < 0:
        raise WrongValueError("value_negative", value=str(value))
    return value


def read_money(value: object, _form: FieldForm, _due: date) -> str:
    """Print a sum of yuan, as 8.6万元."""
    return f"{print_number(read_number(value))}元"


def read_count(value: object, form: FieldForm, _due: date) -> str:
    """Print a number with its unit; the unit is the template's, or written beside it."""
    row = value if isinstance(value, Mapping) else {"value": value}
    if not {"value"} <= row.keys() <= {"value", "unit"}:
        raise WrongValueError("template_data_wrong")
    unit = row.get("unit", form.unit)
    if not isinstance(unit, str):
        raise WrongValueError("template_data_wrong")
    return f"{print_number(read_number(row['value']))}{unit}"


_ROW_KEYS: Final = frozenset({"name", "value", "unit", "before", "compare"})


def read_row(value: object) -> Mapping[str, object]:
    """Return the row of a figure, a bare number as one without an earlier one."""
    row = value if isinstance(value, Mapping) else {"value": value}
    texts = [row[key] for key in ("name", "unit") if key in row]
    if (
        not {"value"} <= row.keys() <= _ROW_KEYS
        or not all(isinstance(text, str) for text in texts)
        or row.get("compare", "环比") not in list(_COMPARED)
    ):
        raise WrongValueError("template_data_wrong")
    return row


def read_figure(value: object, form: FieldForm, _due: date) -> PrintedFigure:
    """Print a number with the change against the earlier one, as 47起，环比下降13.0%."""
    return _print_row(read_row(value), form)


def _print_row(
    row: Mapping[str, object], form: FieldForm, whole: int | None = None
) -> PrintedFigure:
    number, unit = read_number(row["value"]), str(row.get("unit", form.unit))
    change = ""
    if "before" in row:
        before, compare = read_number(row["before"]), str(row.get("compare", "环比"))
        change = print_change(number, before, compare, unit)
    return PrintedFigure(
        name=str(row.get("name", "")),
        text=f"{print_number(number)}{unit}",
        change=change,
        share=print_percentage(number, whole) if whole else "",
    )


def read_figures(value: object, form: FieldForm, _due: date) -> list[PrintedFigure]:
    rows = [read_row(item) for item in read_items(value, form)]
    names = [str(row.get("name", "")) for row in rows]
    if not all(names):
        raise WrongValueError("template_data_wrong")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise WrongValueError("value_named_twice", value=twice)
    return [_print_row(row, form) for row in rows]


def _print_parts(value: object, form: FieldForm, whole: int) -> list[PrintedFigure]:
    """Print rows by size with their shares; the rest of the whole is a row of its own."""
    rows = [read_row(item) for item in read_items(value, form)]
    total = sum(read_number(row["value"]) for row in rows)
    has_others = any(row.get("name") == OTHERS for row in rows)
    if total > whole or (has_others and total != whole):
        facts = {"sum": str(total), "total": str(whole)}
        raise WrongValueError("value_sum_differs", **facts)
    if total < whole:
        rows.append({"name": OTHERS, "value": whole - total})
    rows.sort(key=lambda row: (row["name"] == OTHERS, -read_number(row["value"])))
    return [_print_row(row, form, whole) for row in rows]


def read_link(value: object, form: FieldForm, due: date) -> str:
    """Return an https link to a government's site; any other host may be a false one."""
    text = read_line(value, form, due)
    parts = urlsplit(text)
    if parts.scheme != "https" or not (parts.hostname or "").endswith(".gov.cn"):
        raise WrongValueError("value_link_elsewhere", value=text[:80])
    return text


def read_choice(value: object, form: FieldForm, _due: date) -> str:
    if not isinstance(value, str) or value not in form.choices:
        choices = "、".join(
            key if key == label else f"{key} {label}"
            for key, label in form.choices.items()
        )
        labels = "、".join(form.choices.values())
        facts = {"value": str(value)[:40], "choices": choices, "labels": labels}
        raise WrongValueError("value_no_choice", **facts)
    return form.choices[value]


def read_flag(value: object, _form: FieldForm, _due: date) -> str:
    if not isinstance(value, bool):
        raise WrongValueError("template_data_wrong")
    return "是" if value else "否"


Reader: TypeAlias = Callable[[object, FieldForm, date], Printed]
_READERS: Final[Mapping[str, Reader]] = {
    "line": read_line,
    "lines": read_lines,
    "text": read_text,
    "person": read_person,
    "persons": read_persons,
    "place": read_place,
    "day": read_day,
    "coming-day": read_coming_day,
    "time": read_time,
    "period": read_period,
    "week": read_period,
    "half-year": read_period,
    "money": read_money,
    "count": read_count,
    "figure": read_figure,
    "figures": read_figures,
    "link": read_link,
    "choice": read_choice,
    "flag": read_flag,
}
FORM_TYPES: Final = tuple(_READERS)
_A_DAY: Final = date(2027, 1, 5)
_A_PERSON: Final = {"name": "王某", "sex": "女", "age": 46}
_A_PERIOD: Final = {"from": date(2027, 1, 4), "to": date(2027, 1, 10)}
FORM_EXAMPLES: Final[Mapping[str, object]] = {
    "line": "一句话",
    "lines": ["一句话"],
    "text": "一段话",
    "person": _A_PERSON,
    "persons": [_A_PERSON],
    "place": "示例市青禾区",
    "day": _A_DAY,
    "coming-day": _A_DAY,
    "time": datetime(2027, 1, 5, 9),  # noqa: DTZ001 # a local time of TOML
    "period": _A_PERIOD,
    "week": _A_PERIOD,
    "half-year": {"from": date(2026, 1, 1), "to": date(2026, 6, 30)},
    "money": 86000,
    "count": 47,
    "figure": {"value": 47, "before": 54},
    "figures": [{"name": "刷单返利", "value": 18}],
    "link": "https://fb.example.gov.cn/v",
    "choice": "",
    "flag": True,
}
"""An example of each type, for a field without one in its sample."""
