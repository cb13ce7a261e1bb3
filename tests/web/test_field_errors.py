"""Each refusal of a typed field or of a template's rule stands at an input, in the words of its label."""

import html
import re
from datetime import date

import pytest

from publisher.domain.delivery import State
from publisher.i18n import Messages, load_catalogue
from publisher.web.write.typed_fields import make_field
from tests.web.posts import POST, plan, set_state
from tests.web.test_post_form import SAMPLES
from tests.web.test_write import file, without_waiting  # noqa: F401 # fixtures

DAY = date(2026, 12, 20)
PERSON = {"name": "陈某", "sex": "男", "age": "30", "alias": ""}
ELSEWHERE = {
    "value_link_elsewhere",  # no shipped template has a link
    "rule_emergency_without_expiry",  # nor this rule
}
REFUSED = {
    "template_data_wrong": ("case", {"person.sex": ""}, "data.person"),
    "template_data_missing": ("case", {"place": ""}, "data.place"),
    "value_text_too_long": ("case", {"story": "字" * 46}, "data.story"),
    "value_too_many": ("case", {"advice": "一\n二\n三\n四\n五\n六"}, "data.advice"),
    "value_of_several_lines": ("case", {"story": "一\n二"}, "data.story"),
    "value_person_named": ("case", {"person.name": "李小明"}, "data.person"),
    "value_minor_named": (
        "case",
        {"person.name": "李小明", "person.age": "12"},
        "data.person",
    ),
    "value_age_wrong": ("case", {"person.age": "六十二"}, "data.person"),
    "value_place_exact": ("case", {"place": "青禾路12号"}, "data.place"),
    "value_day_ahead": ("case", {"day": "2026-12-25"}, "data.day"),
    "value_day_too_old": ("case", {"day": "2020-01-01"}, "data.day"),
    "value_period_reversed": (
        "weekly",
        {"period.from": "2026-12-13", "period.to": "2026-12-07"},
        "data.period",
    ),
    "value_period_not_over": (
        "weekly",
        {"period.from": "2026-12-21", "period.to": "2026-12-27"},
        "data.period",
    ),
    "value_not_a_week": (
        "weekly",
        {"period.from": "2026-12-08", "period.to": "2026-12-14"},
        "data.period",
    ),
    "value_not_a_half_year": ("half-year", {"period.to": "2026-05-30"}, "data.period"),
    "value_not_a_number": ("case", {"saved": "八万"}, "data.saved"),
    "value_negative": ("case", {"saved": "-5"}, "data.saved"),
    "value_named_twice": (
        "weekly",
        {"types.name": ["刷单返利"] * 3},
        "data.types",
    ),
    "value_sum_differs": ("weekly", {"total.value": "20"}, "data.types"),
    "value_no_choice": ("rumour", {"verdict": "真的"}, "data.verdict"),
    "rule_level_of_crime": ("case", {"level": "red"}, "level"),
    "rule_crime_never_ends": ("all-clear", {"topic": "fraud"}, "data.topic"),
    "rule_title_of_original": ("update", {"title": "警惕“退款客服”诈骗"}, "title"),
    "rule_hotline_in_correction": (
        "correction",
        {"right": "咨询请拨打96110"},
        "data.right",
    ),
    "rule_weekday_differs": ("tip", {"why": "1月16日（周日）9时"}, "data.why"),
    "rule_no_such_day": ("service", {"when": "2月30日（周二）9时起"}, "data.when"),
    "rule_word_of_judgement": ("notice", {"facts": "凶手逃离现场"}, "data.facts"),
    "rule_person_repeated": ("notice", {"facts": "陈某因停车推搡他人"}, "data.facts"),
    "rule_no_sum": ("case", {"saved": ""}, "data.loss"),
    "rule_no_quotation_marks": ("case", {"quote": "把钱转来"}, "data.quote"),
    "rule_unknown_law": ("case", {"law": "《不存在的法》"}, "data.law"),
    "rule_no_comparison": ("weekly", {"total.before": ""}, "data.total"),
    "rule_national_without_source": (
        "half-year",
        {"scope": "national"},
        "data.source",
    ),
    "rule_national_as_local": (
        "half-year",
        {"scope": "national", "source": "据公安部通报", "reading": "我市案件下降"},
        "data.reading",
    ),
    "rule_title_repeats_claim": ("rumour", {"title": "网传供水异常不实"}, "title"),
    "rule_frightening_title": ("rumour", {"title": "自来水没有毒"}, "title"),
    "rule_link_to_falsehood": ("rumour", {"spread": "a.example.cn"}, "data.spread"),
    "rule_private_number": ("appeal", {"ask": "请加微信提供线索"}, "data.ask"),
    "rule_phone_not_listed": ("appeal", {"contact": "010-55558888"}, "data.contact"),
    "rule_reward_without_basis": ("appeal", {"reward": "5000"}, "data.reward_basis"),
    "rule_picture_without_basis": (
        "appeal",
        {f"person.{part}": text for part, text in PERSON.items()},
        "data.picture_basis",
    ),
    "rule_minor_in_appeal": (
        "appeal",
        {
            **{f"person.{part}": text for part, text in PERSON.items()},
            "person.age": "12",
            "picture_basis": "示公通〔2027〕1号",
        },
        "data.person",
    ),
    "rule_appeal_without_end": ("appeal", {"expires_for": "default"}, "expires"),
    "rule_appeal_too_long": (
        "appeal",
        {"expires_for": "own", "expires_date": "2027-12-31"},
        "expires",
    ),
    "rule_no_question_mark": ("qa", {"question": "要不要接"}, "data.question"),
    "rule_service_in_past": ("service", {"from": "2026-12-01"}, "data.from"),
}
OWN_KEYS = {"title", "level", "expires_for", "expires_date"}
FOLLOWING = ("update", "all-clear", "correction")


def fill_sample(name, changes):
    """Return the form of a template's sample for a day, with these changes."""
    sample = SAMPLES[name].move_days(DAY)
    own_kind = name if name in (*FOLLOWING, "warning") else "bulletin"
    fields = {
        "kind": (sample.kinds or [own_kind])[0],
        "template": name,
        "title": sample.title,
        "when": "once",
        "at_date": f"{DAY}",
        "at_time": "09:00",
        "to": "all",
        "expires_for": "30d" if name == "appeal" else "default",
        "follows": "refund" if name in FOLLOWING else "",
        "tried": "1",
    }
    for key, value in sample.data.items():
        fields |= make_field(sample, key).fill(value)
    return fields | {
        key if key in OWN_KEYS else f"data.{key}": value
        for key, value in changes.items()
    }


@pytest.mark.parametrize("code", sorted(REFUSED))
async def test_each_refusal_stands_at_an_input_of_the_page(site, file, code):  # noqa: F811
    """The sentence names no id and no key of the file, and the list of errors leads to the input."""
    name, changes, key = REFUSED[code]
    await plan(site, POST)
    await set_state(site, State.PUBLISHED)
    author = await site.signed_in("author", name="王")
    page = (
        await author.post("/write", data={**fill_sample(name, changes), "do": "save"})
    ).text
    entry = load_catalogue()[code]
    pattern = re.sub(r"\\\{\w+\\\}", ".*", re.escape(entry.get("page", entry)["zh_CN"]))
    test_id = f"problem-{key.removeprefix('data.')}"
    shown = re.findall(
        rf'<p class="problem" data-testid="{test_id}">.*?<span>(.*?)</span>',
        page,
        re.DOTALL,
    )
    assert any(re.match(pattern, html.unescape(words)) for words in shown), (
        shown,
        page[-3000:],
    )
    assert "“{post}”" not in entry.get("page", entry)["zh_CN"]
    assert f'<a href="#f-{key}">' in page
    place = page.index(f'id="f-{key}"')
    folded = re.search(
        r'<details class="card more-fields"(?! data-testid="regions")(.*?)>', page
    )
    assert folded is not None
    assert place < folded.start() or "open" in folded[1]


def test_no_refusal_is_forgotten():
    """The table has each code of a typed value and of a rule."""
    codes = {code for code in load_catalogue() if code.startswith(("value_", "rule_"))}
    codes -= {"value_missing", "value_too_long"}  # of files
    assert codes - REFUSED.keys() - ELSEWHERE == set()
    assert Messages().name_field("data.person") == "当事人"
