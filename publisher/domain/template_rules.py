"""Rules of templates beyond the types of single fields: a sample.toml lists those that hold. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, TypeAlias

from publisher.domain.contacts import names_number
from publisher.domain.values import (
    ADULT_AGE,
    WrongValueError,
    read_date,
    read_row,
)

MAX_APPEAL_DAYS: Final = timedelta(days=90)
TOPICS_OF_CRIME: Final = frozenset(
    {"fraud", "gambling", "drugs", "firearms", "netcrime", "other"}
)
"""Topics without an end and without a colour of their own."""
EMERGENCY_TOPICS: Final = frozenset({"emergency", "traffic", "missing"})
_JUDGEMENTS: Final = ("罪犯", "凶手", "恶魔", "歹徒", "畜生", "人渣", "丧心病狂")
_FRIGHTENING: Final = ("毒", "死")
_PHONE: Final = re.compile(r"(?<![\d-])(?:0\d{2,3}-?)?\d{3,8}(?!\d)")
_MOBILE: Final = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_PRIVATE_CHAT: Final = re.compile(
    r"加(?!强)[^，。]信(?![息任])|QQ号|加QQ|私信", re.IGNORECASE
)
_LINK: Final = re.compile(
    r"https?://|www\.|\.(?:com|cn|net|top|xyz|vip)\b", re.IGNORECASE
)
_LAW: Final = re.compile(r"《(?P<name>[^》]+)》(?P<article>第[^条]+条)?")
_WEEKDAY: Final = re.compile(
    r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})日\s*[（(]?\s*(?:周|星期)([一二三四五六日天])"
)
_WEEKDAYS: Final = "一二三四五六日"


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A law whose articles a post may name, from the day on which it is in force."""

    name: str
    since: date
    until: date = date.max
    articles: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFacts:
    """The facts of a post that rules are about."""

    title: str
    data: Mapping[str, object]
    topic: str
    level: str | None
    due: date
    expires: date | None = None
    has_pictures: bool = False
    original_title: str = ""
    region: Mapping[str, str]
    phones: Sequence[str] = ()
    laws: Sequence[Law] = ()

    def text(self, key: str) -> str:
        """Return a field as one text, empty if the post has none."""
        return "\n".join(_list_texts(self.data.get(key, "")))

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield each key with its text."""
        yield "title", self.title
        for key, value in self.data.items():
            yield f"data.{key}", "\n".join(_list_texts(value))


def _list_texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _list_texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _list_texts(each)
    elif isinstance(value, str):
        yield value


Finding: TypeAlias = tuple[str, str, Mapping[str, str]]
"""The key that a problem is about, the problem's code, and its facts."""


def find_rule_problems(rules: Sequence[str], facts: RuleFacts) -> Iterator[Finding]:
    """Yield the problems of a post by the rules of its template."""
    for rule in rules:
        yield from RULES[rule](facts)


def require_level_basis(facts: RuleFacts) -> Iterator[Finding]:
    """No law gives a crime a colour; an agency with a scale of its own names it."""
    if (
        facts.level
        and facts.topic in TOPICS_OF_CRIME
        and not facts.text("level_basis").strip()
    ):
        yield "level", "rule_level_of_crime", {}


def require_expiry(facts: RuleFacts) -> Iterator[Finding]:
    """A warning of an emergency is wrong once it is over."""
    if facts.topic in EMERGENCY_TOPICS and facts.expires is None:
        yield "expires", "rule_emergency_without_expiry", {}


def refuse_end_of_crime(facts: RuleFacts) -> Iterator[Finding]:
    if facts.text("topic") in TOPICS_OF_CRIME:
        yield "data.topic", "rule_crime_never_ends", {}


def refuse_same_title(facts: RuleFacts) -> Iterator[Finding]:
    if facts.original_title and facts.title.strip() == facts.original_title.strip():
        yield "title", "rule_title_of_original", {}


def refuse_hotlines(facts: RuleFacts) -> Iterator[Finding]:
    """A correction is about the error alone."""
    for key, text in facts.texts():
        for number in ("110", "96110", "12377", "12381", "12389"):
            if names_number(text, number) and number not in facts.text("wrong"):
                yield key, "rule_hotline_in_correction", {"value": number}
                return


def require_true_weekdays(facts: RuleFacts) -> Iterator[Finding]:
    for key, text in facts.texts():
        for found in _WEEKDAY.finditer(text):
            years = (
                [int(found[1])]
                if found[1]
                else [facts.due.year - 1, facts.due.year, facts.due.year + 1]
            )
            days = [day for year in years if (day := _make_date(year, found))]
            if not days:
                yield key, "rule_no_such_day", {"value": found[0]}
                continue
            day = min(days, key=lambda day: abs(day - facts.due))
            right = _WEEKDAYS[day.weekday()]
            if found[4].replace("天", "日") != right:
                yield (
                    key,
                    "rule_weekday_differs",
                    {"value": found[0], "right": f"周{right}"},
                )


def _make_date(year: int, found: re.Match[str]) -> date | None:
    try:
        return date(year, int(found[2]), int(found[3]))
    except ValueError:
        return None


def refuse_judgement(facts: RuleFacts) -> Iterator[Finding]:
    """A notice states facts; guilt is for a court."""
    for key, text in facts.texts():
        for word in _JUDGEMENTS:
            if word in text:
                yield key, "rule_word_of_judgement", {"value": word}


def refuse_repeated_person(facts: RuleFacts) -> Iterator[Finding]:
    """A person is printed before the facts, which do not begin with the name again."""
    persons, text = facts.data.get("persons"), facts.text("facts").strip()
    text = re.sub("^经查[，,]", "", text).strip()
    for person in persons if isinstance(persons, list) else ():
        name = person.get("name") if isinstance(person, Mapping) else None
        if isinstance(name, str) and name and text.startswith(name):
            yield "data.facts", "rule_person_repeated", {"value": name}


def require_loss_or_saved(facts: RuleFacts) -> Iterator[Finding]:
    if not {"loss", "saved"} & facts.data.keys():
        yield "data.loss", "rule_no_sum", {}


def require_quotation_marks(facts: RuleFacts) -> Iterator[Finding]:
    quote = facts.text("quote")
    if quote and not ("“" in quote and "”" in quote):
        yield "data.quote", "rule_no_quotation_marks", {"value": quote[:20]}


def require_known_law(facts: RuleFacts) -> Iterator[Finding]:
    """A law is named with an article that is in force on the day of the post."""
    text = facts.text("law")
    if not text:
        return
    named = list(_LAW.finditer(text))
    if not named:
        yield "data.law", "rule_unknown_law", {"value": text[:40]}
    for found in named:
        name = found["name"].removeprefix("中华人民共和国")
        in_force = [
            law
            for law in facts.laws
            if law.name == name
            and law.since <= facts.due <= law.until
            and found["article"] in {None, *law.articles}
        ]
        if not in_force:
            yield "data.law", "rule_unknown_law", {"value": found[0]}


def require_comparison(facts: RuleFacts) -> Iterator[Finding]:
    """Figures of a period name those of the period before, unless it is the first one."""
    if facts.data.get("first") is True:
        return
    for key in ("total", "loss", "stopped", "cases"):
        if key not in facts.data:
            continue
        try:
            row = read_row(facts.data[key])
        except WrongValueError:
            continue
        if "before" not in row:
            yield f"data.{key}", "rule_no_comparison", {}


def require_scope(facts: RuleFacts) -> Iterator[Finding]:
    """Figures of the whole country have a source, and are nobody's own."""
    if facts.data.get("scope") != "national":
        return
    if "公安部" not in facts.text("source"):
        yield "data.source", "rule_national_without_source", {}
    for key, text in facts.texts():
        if found := re.search(r"我市|我局|我区|我省|本市", text):
            yield key, "rule_national_as_local", {"value": found[0]}


def require_fact_first(facts: RuleFacts) -> Iterator[Finding]:
    """The title of a refutation says what is true, and frightens nobody."""
    claim = facts.text("claim").strip("“”。 ")
    if claim and (claim in facts.title or facts.title.startswith("网传")):
        yield "title", "rule_title_repeats_claim", {}
    for word in _FRIGHTENING:
        if word in facts.title:
            yield "title", "rule_frightening_title", {"value": word}


def refuse_links(facts: RuleFacts) -> Iterator[Finding]:
    """A rumour or a false account is named, never linked."""
    for key in ("claim", "spread", "fake"):
        if _LINK.search(facts.text(key)):
            yield f"data.{key}", "rule_link_to_falsehood", {}


def refuse_private_numbers(facts: RuleFacts) -> Iterator[Finding]:
    for key, text in facts.texts():
        found = _MOBILE.search(text) or _PRIVATE_CHAT.search(text)
        if found:
            yield key, "rule_private_number", {"value": found[0]}


def require_listed_phone(facts: RuleFacts) -> Iterator[Finding]:
    """The contact of a post is on the agency's list, or one of the region's lines."""
    known = {*facts.phones, facts.region.get("hotline", "110"), "110"}
    known.add(facts.region.get("tip_line", ""))
    for found in _PHONE.findall(facts.text("contact")):
        if found not in known:
            yield "data.contact", "rule_phone_not_listed", {"value": found}


def require_reward_basis(facts: RuleFacts) -> Iterator[Finding]:
    if "reward" in facts.data and not facts.text("reward_basis").strip():
        yield "data.reward_basis", "rule_reward_without_basis", {}


def require_picture_basis(facts: RuleFacts) -> Iterator[Finding]:
    """A picture or a person in an appeal needs the decision that allows it."""
    shows_person = facts.has_pictures or "person" in facts.data
    if shows_person and not facts.text("picture_basis").strip():
        yield "data.picture_basis", "rule_picture_without_basis", {}


def require_end(facts: RuleFacts) -> Iterator[Finding]:
    """An appeal ends, within three months."""
    if facts.expires is None:
        yield "expires", "rule_appeal_without_end", {}
    elif facts.expires - facts.due > MAX_APPEAL_DAYS:
        yield "expires", "rule_appeal_too_long", {"limit": str(MAX_APPEAL_DAYS.days)}


def refuse_minors(facts: RuleFacts) -> Iterator[Finding]:
    """A minor is named only as a missing child, with the family's consent."""
    person = facts.data.get("person")
    is_minor = isinstance(person, Mapping) and _is_below(person.get("age"), ADULT_AGE)
    is_allowed = facts.topic == "missing" and facts.data.get("consent") is True
    if is_minor and not is_allowed:
        yield "data.person", "rule_minor_in_appeal", {}


def _is_below(value: object, limit: int) -> bool:
    return isinstance(value, int) and value < limit


def require_question(facts: RuleFacts) -> Iterator[Finding]:
    question = facts.text("question").strip()
    if question and not question.endswith(("？", "?")):
        yield "data.question", "rule_no_question_mark", {}


def require_later_day(facts: RuleFacts) -> Iterator[Finding]:
    """A service begins on the day of its notice or later."""
    if "from" not in facts.data:
        return
    try:
        day = read_date(facts.data["from"])
    except WrongValueError:
        return
    if day < facts.due:
        yield "data.from", "rule_service_in_past", {"value": f"{day}"}


Rule: TypeAlias = Callable[[RuleFacts], Iterator[Finding]]
RULES: Final[Mapping[str, Rule]] = {
    "level-basis": require_level_basis,
    "expiry": require_expiry,
    "no-end-of-crime": refuse_end_of_crime,
    "new-title": refuse_same_title,
    "no-hotlines": refuse_hotlines,
    "true-weekdays": require_true_weekdays,
    "no-judgement": refuse_judgement,
    "person-once": refuse_repeated_person,
    "loss-or-saved": require_loss_or_saved,
    "quotation-marks": require_quotation_marks,
    "known-law": require_known_law,
    "comparison": require_comparison,
    "scope": require_scope,
    "fact-first": require_fact_first,
    "no-links": refuse_links,
    "no-private-numbers": refuse_private_numbers,
    "listed-phone": require_listed_phone,
    "reward-basis": require_reward_basis,
    "picture-basis": require_picture_basis,
    "end": require_end,
    "no-minors": refuse_minors,
    "question": require_question,
    "later-day": require_later_day,
}
