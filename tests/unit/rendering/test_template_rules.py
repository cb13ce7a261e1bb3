"""Each rule of a template refuses a post, with the sentence that staff see."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from publisher.domain.errors import TemplateError
from publisher.domain.kinds import PostKind
from publisher.domain.post import Marker, PostImage, WarningLevel
from publisher.i18n import LANGUAGES, Messages
from publisher.rendering.renderer import OriginalPost
from tests.unit.rendering.rendering_fixtures import DUE, REGION, render_for, sample_post

MINOR = {"name": "陈某", "sex": "男", "age": 12}


def find_refusals(shipped, name, *, drop=(), original=None, data=(), **changes):
    """Return the refusals of a sample with these changes, by code."""
    post, followed = sample_post(shipped, name)
    kept = {key: value for key, value in post.data.items() if key not in drop}
    post = replace(post, data={**kept, **dict(data)}, **changes)
    with pytest.raises(TemplateError) as caught:
        render_for("wechat", post, shipped, original=original or followed)
    return {problem.code: problem for problem in caught.value.problems}


def say(problem) -> str:
    """Return the sentence and the hint that staff see."""
    messages = Messages("zh_CN")
    return messages.describe(problem) + messages.hint(problem.code, **problem.facts)


@pytest.mark.parametrize(
    "refused",
    [
        (
            "all-clear",
            {"topic": "fraud"},
            "rule_crime_never_ends",
            "data.topic",
            "诈骗不会解除",
        ),
        (
            "correction",
            {"right": "咨询请拨打96110"},
            "rule_hotline_in_correction",
            "data.right",
            "96110",
        ),
        (
            "correction",
            {"right": "活动时间是1月16日（周日）9时"},
            "rule_weekday_differs",
            "data.right",
            "周六",
        ),
        (
            "service",
            {"when": "2月30日（周二）9时起"},
            "rule_no_such_day",
            "data.when",
            "没有这一天",
        ),
        (
            "notice",
            {"facts": "凶手逃离现场"},
            "rule_word_of_judgement",
            "data.facts",
            "凶手",
        ),
        (
            "notice",
            {"facts": "经查，周某先动手"},
            "rule_person_repeated",
            "data.facts",
            "周某",
        ),
        (
            "notice",
            {"measures": "线索请打13900000000"},
            "rule_private_number",
            "data.measures",
            "13900000000",
        ),
        (
            "case",
            {"quote": "把钱转来"},
            "rule_no_quotation_marks",
            "data.quote",
            "引号",
        ),
        (
            "case",
            {"law": "《不存在的法》"},
            "rule_unknown_law",
            "data.law",
            "不存在的法",
        ),
        (
            "rumour",
            {"law": "《治安管理处罚法》第二十五条"},
            "rule_unknown_law",
            "data.law",
            "第二十五条",
        ),
        (
            "weekly",
            {"total": {"value": 47}},
            "rule_no_comparison",
            "data.total",
            "上一期",
        ),
        (
            "half-year",
            {"scope": "national", "source": "示例市公安局"},
            "rule_national_without_source",
            "data.source",
            "公安部",
        ),
        (
            "half-year",
            {"scope": "national", "source": "据公安部通报", "reading": "我市案件下降"},
            "rule_national_as_local",
            "data.reading",
            "我市",
        ),
        (
            "rumour",
            {"spread": "a.example.cn"},
            "rule_link_to_falsehood",
            "data.spread",
            "链接",
        ),
        (
            "account",
            {"fake": ["http://fake.example.com"]},
            "rule_link_to_falsehood",
            "data.fake",
            "链接",
        ),
        (
            "appeal",
            {"ask": "请加微信提供线索"},
            "rule_private_number",
            "data.ask",
            "加微信",
        ),
        (
            "appeal",
            {"contact": "010-55558888"},
            "rule_phone_not_listed",
            "data.contact",
            "010-55558888",
        ),
        (
            "service",
            {"contact": "010-55558888"},
            "rule_phone_not_listed",
            "data.contact",
            "010-55558888",
        ),
        (
            "appeal",
            {"reward": 5000},
            "rule_reward_without_basis",
            "data.reward_basis",
            "悬赏",
        ),
        (
            "appeal",
            {"person": {"name": "陈某", "sex": "男", "age": 30}},
            "rule_picture_without_basis",
            "data.picture_basis",
            "依据",
        ),
        (
            "appeal",
            {"person": MINOR, "picture_basis": "示公通〔2027〕1号"},
            "rule_minor_in_appeal",
            "data.person",
            "未成年人",
        ),
        (
            "qa",
            {"question": "要不要接"},
            "rule_no_question_mark",
            "data.question",
            "问号",
        ),
        (
            "service",
            {"from": date(2027, 1, 4)},
            "rule_service_in_past",
            "data.from",
            "发布日",
        ),
    ],
)
def test_each_wrong_fact_is_refused(shipped, refused):
    """A wrong fact is refused at its field, in a sentence that says why."""
    name, data, code, key, words = refused
    problem = find_refusals(shipped, name, data=data)[code]
    assert problem.facts["key"] == key
    assert words in say(problem)


def test_a_case_needs_its_sum(shipped):
    """Without a loss and without one that was avoided a case says little."""
    assert "rule_no_sum" in find_refusals(shipped, "case", drop={"saved"})


def test_a_crime_has_no_colour_of_its_own(shipped):
    """A level needs its basis."""
    found = find_refusals(shipped, "case", level=WarningLevel.RED)
    assert found["rule_level_of_crime"].facts["key"] == "level"
    post, _ = sample_post(shipped, "case")
    data = {**post.data, "level_basis": "本单位规定"}
    render_for("wechat", replace(post, level=WarningLevel.RED, data=data), shipped)


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ("青禾区自来水有异味，不能喝？假的", "rule_title_repeats_claim"),
        ("网传供水异常不实", "rule_title_repeats_claim"),
        ("自来水没有毒", "rule_frightening_title"),
    ],
)
def test_a_refutation_begins_with_the_fact(shipped, title, code):
    """Its title neither repeats the claim nor frightens."""
    assert code in find_refusals(shipped, "rumour", title=title)


def test_an_update_has_a_title_of_its_own(shipped):
    """The title of the original would hide that there is something new."""
    post, _ = sample_post(shipped, "update")
    original = OriginalPost(title=post.title, marker=Marker(code="AAAA-2222"))
    assert "rule_title_of_original" in find_refusals(
        shipped, "update", original=original
    )


@pytest.mark.parametrize(
    ("expires", "code"),
    [
        (None, "rule_appeal_without_end"),
        (DUE + timedelta(days=91), "rule_appeal_too_long"),
    ],
)
def test_an_appeal_ends_within_three_months(shipped, expires, code):
    assert code in find_refusals(shipped, "appeal", expires_at=expires)


def test_a_picture_in_an_appeal_needs_its_basis(shipped):
    """A picture may show a suspect."""
    images = (PostImage(file="media/a.png", alt="照片"),)
    assert "rule_picture_without_basis" in find_refusals(
        shipped, "appeal", images=images
    )


def test_a_missing_child_may_be_named_with_consent(shipped):
    """A search for a missing child is the one appeal about a minor."""
    post, _ = sample_post(shipped, "appeal")
    allowed = {"person": MINOR, "picture_basis": "监护人同意书", "topic": "missing"}
    data = {**post.data, **allowed, "consent": True}
    assert MINOR["name"] in render_for("wechat", replace(post, data=data), shipped).text


def test_a_template_is_for_its_kinds(shipped):
    """A notice cannot go out as a bulletin, with the approvals of one."""
    found = find_refusals(shipped, "notice", kind=PostKind.BULLETIN)
    assert found["template_of_another_kind"].facts["kinds"] == "notice"


@pytest.mark.parametrize("number", ["96110", "12377", "12381"])
@pytest.mark.parametrize("name", ["notice", "service", "correction"])
def test_lines_for_fraud_stay_out_where_they_do_not_belong(shipped, name, number):
    """An opening hour, a notice and a correction name no line for fraud or harmful content."""
    post, original = sample_post(shipped, name)
    region = {**REGION, "tip_line": "110"}
    for platform in ("weibo", "wechat", "tieba"):
        text = render_for(
            platform, post, shipped, original=original, region=region
        ).text
        assert number not in text


@pytest.mark.parametrize("lang", LANGUAGES)
def test_refusals_name_no_code_on_a_page(shipped, lang):
    """A page shows sentences, with the field's own words."""
    problem = find_refusals(shipped, "case", drop={"saved"})["rule_no_sum"]
    messages = replace(Messages(lang), names_buttons=True)
    assert "rule_" not in messages.describe(problem)
    assert "data." not in messages.describe(problem)
