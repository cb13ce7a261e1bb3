"""Typed values: printed as Chinese prints them, and refused with the reason."""

from datetime import UTC, date, datetime

import pytest

from publisher.domain.values import (
    FORM_TYPES,
    FieldForm,
    end_sentence,
    print_number,
    print_values,
)

DUE = date(2027, 1, 11)
WEEK = {"from": date(2027, 1, 4), "to": date(2027, 1, 10)}


def printed(type_: str, value: object, **form: object) -> object:
    """Return a value as it is printed; the refusal if it is refused."""
    forms = {"x": FieldForm(type=type_, **form)}
    shown, refused = print_values(forms, {"x": value}, DUE)
    assert not refused, refused["x"].code
    return shown["x"]


def refusal(type_: str, value: object, **form: object) -> str:
    """Return the code of the refusal."""
    _, refused = print_values({"x": FieldForm(type=type_, **form)}, {"x": value}, DUE)
    return refused["x"].code


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("line", " 一句话 ", "一句话"),
        ("text", "两行\n文字", "两行\n文字"),
        ("lines", ["一", "二"], ["一", "二"]),
        ("person", {"name": "王某", "sex": "女", "age": 46}, "王某（女，46岁）"),
        ("person", {"name": "王", "sex": "女", "age": 46}, "王某（女，46岁）"),
        (
            "person",
            {"name": "欧阳某某", "sex": "男", "age": 30},
            "欧阳某某（男，30岁）",
        ),
        ("person", {"name": "张某强", "sex": "男", "age": 30}, "张某强（男，30岁）"),
        (
            "person",
            {"name": "小李", "sex": "女", "age": 20, "alias": True},
            "小李（化名）（女，20岁）",
        ),
        ("person", {"name": "陈某", "sex": "男", "age": 12}, "陈某（男，12岁）"),
        (
            "persons",
            [
                {"name": "陈某", "sex": "男", "age": 35},
                {"name": "周某", "sex": "男", "age": 41},
            ],
            "陈某（男，35岁）、周某（男，41岁）",
        ),
        ("place", "示例市青禾区", "示例市青禾区"),
        ("place", "地铁2号线青禾站", "地铁2号线青禾站"),
        ("day", date(2027, 1, 5), "1月5日"),
        ("day", date(2026, 12, 31), "2026年12月31日"),
        ("day", "2027-01-05", "1月5日"),
        ("coming-day", date(2027, 1, 16), "1月16日"),
        ("time", datetime(2027, 1, 10, 21, tzinfo=UTC), "1月10日21时"),
        ("time", "2027-01-10T21:30:00", "1月10日21时30分"),
        ("period", WEEK, "1月4日至10日"),
        ("week", WEEK, "1月4日至10日"),
        (
            "week",
            {"from": date(2026, 12, 28), "to": date(2027, 1, 3)},
            "2026年12月28日至2027年1月3日",
        ),
        (
            "half-year",
            {"from": date(2026, 1, 1), "to": date(2026, 6, 30)},
            "2026年1月1日至6月30日",
        ),
        ("money", 86000, "8.6万元"),
        ("money", 9999, "9999元"),
        ("money", 0, "0元"),
        ("count", {"value": 47, "unit": "起"}, "47起"),
        ("figures", [{"name": "发案", "value": 47, "unit": "起"}], ["47起"]),
        ("link", "https://fb.example.gov.cn/v", "https://fb.example.gov.cn/v"),
    ],
)
def test_a_value_is_printed_as_in_a_notice(type_, value, expected):
    """Each type has its own printed form."""
    shown = printed(type_, value)
    as_text = [str(each) for each in shown] if type_ == "figures" else shown
    assert as_text == expected


PERSON = {"name": "王某", "sex": "女", "age": 46}


@pytest.mark.parametrize(
    ("type_", "value", "code"),
    [
        ("line", "一\n二", "value_of_several_lines"),
        ("line", "", "template_data_wrong"),
        ("line", ["一"], "template_data_wrong"),
        ("lines", "一句", "template_data_wrong"),
        ("lines", [], "template_data_wrong"),
        ("lines", ["一\n二"], "value_of_several_lines"),
        ("person", {**PERSON, "name": "王小明"}, "value_person_named"),
        ("person", {**PERSON, "name": "小李"}, "value_person_named"),
        ("person", {**PERSON, "age": 17, "name": "王某强"}, "value_minor_named"),
        (
            "person",
            {**PERSON, "age": 9, "name": "小王", "alias": True},
            "value_minor_named",
        ),
        ("person", {**PERSON, "sex": "F"}, "template_data_wrong"),
        ("person", {**PERSON, "age": "46"}, "value_age_wrong"),
        ("person", {**PERSON, "age": 121}, "value_age_wrong"),
        ("person", {**PERSON, "phone": "1"}, "template_data_wrong"),
        ("person", "王某", "template_data_wrong"),
        ("place", "青禾区滨河路12号", "value_place_exact"),
        ("place", "青禾花园3栋", "value_place_exact"),
        ("place", "青禾花园三单元", "value_place_exact"),
        ("place", "青禾花园501室", "value_place_exact"),
        ("place", "青禾小区7", "value_place_exact"),
        ("day", date(2027, 1, 12), "value_day_ahead"),
        ("day", date(2025, 11, 1), "value_day_too_old"),
        ("day", "昨天", "template_data_wrong"),
        ("day", "2027-02-30", "template_data_wrong"),
        ("day", datetime(2027, 1, 5, 9, tzinfo=UTC), "template_data_wrong"),
        ("time", date(2027, 1, 5), "template_data_wrong"),
        ("time", datetime(2027, 1, 12, 9, tzinfo=UTC), "value_day_ahead"),
        ("period", {"from": WEEK["to"], "to": WEEK["from"]}, "value_period_reversed"),
        ("period", {**WEEK, "to": date(2027, 1, 12)}, "value_period_not_over"),
        ("week", {**WEEK, "to": date(2027, 1, 9)}, "value_not_a_week"),
        ("half-year", WEEK, "value_not_a_half_year"),
        ("money", -1, "value_negative"),
        ("money", "8.6万元", "value_not_a_number"),
        ("money", 8.6, "value_not_a_number"),
        ("money", True, "value_not_a_number"),
        ("count", {"value": "47", "unit": "起"}, "value_not_a_number"),
        ("figures", [{"name": "发案", "value": "43.7万起"}], "value_not_a_number"),
        ("figures", [{"value": 3}], "template_data_wrong"),
        ("figures", [{"name": "一", "value": 3}] * 2, "value_named_twice"),
        ("figures", [{"name": "一", "value": 3, "share": "9%"}], "template_data_wrong"),
        ("link", "https://gov.cn.example.com/v", "value_link_elsewhere"),
        ("link", "http://fb.example.gov.cn/v", "value_link_elsewhere"),
        ("choice", "其他", "value_no_choice"),
    ],
)
def test_a_wrong_value_is_refused(type_, value, code):
    """Each type refuses its wrong values with a reason of its own."""
    assert refusal(type_, value, choices={"fraud": "诈骗"}) == code


ODD = [None, True, -1, 1.5, "", "x", [], [[]], [{}], {}, {"value": []}, {"name": []}]


@pytest.mark.parametrize("type_", FORM_TYPES)
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_value_of_any_shape_is_printed_or_refused(type_, odd):
    """No shape of a value raises anything else, at the top or inside a table."""
    tables = [
        odd,
        {"name": "王某", "sex": odd, "age": 46},
        {"value": 47, "before": odd, "compare": odd},
        [{"name": odd, "value": 1, "compare": odd}],
        {"from": odd, "to": odd},
    ]
    for value in tables:
        shown, refused = print_values({"x": FieldForm(type=type_)}, {"x": value}, DUE)
        assert "x" in refused or shown["x"] is not None


def test_a_long_text_is_refused_with_both_lengths():
    """The refusal says how long the text is and how long it may be."""
    _, refused = print_values(
        {"x": FieldForm(type="line", max=3)}, {"x": "四个字呢"}, DUE
    )
    assert refused["x"].code == "value_text_too_long"
    assert refused["x"].facts == {"length": "4", "limit": "3"}
    assert refusal("lines", ["一", "二", "三"], items=2) == "value_too_many"


def test_a_choice_prints_its_label():
    """Staff write the code, and readers see the label."""
    assert printed("choice", "other", choices={"other": "其他犯罪"}) == "其他犯罪"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "1万"),
        (12_340, "1.2万"),
        (12_499, "1.2万"),
        (12_500, "1.3万"),
        (1_863_000, "186.3万"),
        (99_994_999, "9999.5万"),
        (99_999_999, "1亿"),
        (100_000_000, "1亿"),
        (123_456_789, "1.23亿"),
    ],
)
def test_numbers_are_printed_in_wan_and_yi(number, text):
    """A number is rounded half up, once, without an error of binary fractions."""
    assert print_number(number) == text


@pytest.mark.parametrize(
    ("value", "before", "compare", "text"),
    [
        (47, 54, "环比", "47起，环比下降13.0%"),
        (312, 288, "同比", "312起，同比上升8.3%"),
        (47, 47, "环比", "47起，与上期持平"),
        (10_000, 10_001, "同比", "1万起，与上年同期持平"),
        (5, 3, "环比", "5起，比上期多2起"),
        (0, 3, "环比", "0起，比上期少3起"),
        (12, 0, "环比", "12起，上期为0"),
        (30, 10, "环比", "30起，是上期的3.0倍"),
        (29, 10, "环比", "29起，环比上升190.0%"),
    ],
)
def test_a_change_is_computed(value, before, compare, text):
    """A change is computed; of numbers below ten only the difference says something."""
    row = {"value": value, "before": before, "compare": compare}
    assert str(printed("figure", row, unit="起")) == text


def test_parts_have_shares_of_their_whole():
    """Rows come by size with their shares, and the rest of the whole is a row of its own."""
    forms = {
        "total": FieldForm(type="figure", unit="起"),
        "types": FieldForm(type="figures", unit="起", parts_of="total"),
    }
    rows = [{"name": "冒充客服", "value": 7}, {"name": "刷单返利", "value": 18}]
    shown, refused = print_values(forms, {"total": {"value": 47}, "types": rows}, DUE)
    assert not refused
    assert [(row.name, str(row)) for row in shown["types"]] == [
        ("刷单返利", "18起，占38.3%"),
        ("冒充客服", "7起，占14.9%"),
        ("其他", "22起，占46.8%"),
    ]


@pytest.mark.parametrize(
    "rows",
    [
        [{"name": "刷单返利", "value": 48}],
        [{"name": "刷单返利", "value": 18}, {"name": "其他", "value": 28}],
    ],
)
def test_parts_that_do_not_add_up_are_refused(rows):
    """More than the whole is refused, and so is a rest that does not fit."""
    forms = {
        "total": FieldForm(type="figure"),
        "types": FieldForm(type="figures", parts_of="total"),
    }
    _, refused = print_values(forms, {"total": 47, "types": rows}, DUE)
    assert refused["types"].code == "value_sum_differs"
    assert refused["types"].facts["total"] == "47"


def test_a_field_without_a_form_is_left_alone():
    """Templates of agencies have fields of any kind."""
    data = {"x": {"any": [1]}, "y": 2}
    assert print_values({}, data, DUE) == (data, {})


@pytest.mark.parametrize(
    ("words", "ended"),
    [("好", "好。"), ("好。", "好。"), ("“好！”", "“好！”"), ("", "")],
)
def test_a_sentence_is_ended_once(words, ended):
    """A full stop is added where none of the marks stands."""
    assert end_sentence(words) == ended
