"""A template is one data file: the shared pages print it, and its values are checked."""

from dataclasses import replace
from datetime import date

import pytest

from publisher.domain.errors import TemplateError
from publisher.domain.kinds import PostKind
from publisher.domain.post import OneTimeTrigger
from tests.unit.rendering.rendering_fixtures import (
    AGENCY,
    post_of,
    render_for,
    sample_post,
)

OWN = """
about = "治安播报"
name = "治安播报"
contacts = "police"
must = ["source"]
lead = [["{day}，{place}{person}{matter}，损失{loss}", "{day}，{place}{person}{matter}"], "{advice}"]
[needs]
day = "哪一天"
place = "哪里"
person = "当事人"
matter = "怎么回事"
[offers]
loss = "损失"
types = "类型"
total = "总数"
advice = "提示"
[forms]
day = "day"
place = "place"
person = "person"
matter = { type = "line", max = 20 }
loss = "money"
total = { type = "figure", unit = "起" }
types = { type = "figures", unit = "起", parts_of = "total" }
advice = "lines"
[[section]]
key = "types"
heading = { fraud = "类型", default = "分类" }
as = "figures"
[[section]]
text = "来源是{source}"
[[section]]
key = "advice"
heading = "防范提示"
as = "numbers"
[data]
day = 2027-01-04
place = "示例市青禾区"
person = { name = "王某", sex = "女", age = 46 }
matter = "接到“快递客服”电话"
source = "示例市公安局"
"""
DATA = {
    "day": date(2027, 1, 4),
    "place": "青禾区",
    "person": {"name": "王某", "sex": "女", "age": 46},
    "matter": "接到“快递客服”电话",
    "source": "示例市公安局",
}


@pytest.fixture
def own(written):
    return written({"news/sample.toml": OWN}, with_shipped=True)


def news(**data):
    return post_of("news", kind=PostKind.BULLETIN, level=None, data={**DATA, **data})


def test_a_post_without_a_time_of_its_own_prints_none(own):
    """It is sent once it is approved, perhaps a day later: the time of its first save is wrong."""
    timed, at_once = news(), replace(news(), trigger=OneTimeTrigger(at=None))
    printed = [
        "2027年1月5日" in render_for(platform, post, own, region=AGENCY).text
        for post in (timed, at_once)
        for platform in ("tieba", "wechat")
    ]
    assert printed == [True, True, False, False]


def test_one_file_is_a_template_for_every_platform(own):
    """A folder with a sample.toml alone prints a short text, a plain text and an article."""
    post = news(loss=86000, total={"value": 4}, types=[{"name": "冒充", "value": 3}])
    lead = "1月4日，青禾区王某（女，46岁）接到“快递客服”电话，损失8.6万元。"
    texts = {
        platform: render_for(platform, post, own, region=AGENCY).text
        for platform in ("weibo", "tieba", "wechat", "elsewhere")
    }
    assert all(lead in text for text in texts.values())
    assert texts["weibo"].startswith(f"【{post.title}】（编号")
    assert "报警请拨打110。 https://" in texts["weibo"]
    for platform in ("tieba", "elsewhere"):
        text = texts[platform].replace("\r\n", "\n")
        assert text.startswith("治安播报｜北京市公安局 1月5日 发布　编号 ")
        assert "【类型】\n冒充：3起，占75.0%\n其他：1起，占25.0%\n" in text
        assert "来源是示例市公安局。" in text
        assert "来源｜示例市公安局" in text
    assert ">8.6万元" not in texts["wechat"]
    assert "占75.0%" in texts["wechat"]


def test_a_sentence_without_its_fields_is_left_out(own):
    """Of alternatives the first complete one is printed, and a sentence without one not at all."""
    text = render_for("weibo", news(), own, region=AGENCY).text
    assert "接到“快递客服”电话。报警" in text


def refused(post, templates):
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", post, templates, region=AGENCY)
    return [
        (problem.facts.get("key"), problem.code) for problem in caught.value.problems
    ]


def test_values_are_refused_at_their_key(own):
    """Each wrong value is a problem of its own key, with an example to copy."""
    post = news(
        day=date(2027, 2, 1),
        person={"name": "王小明", "sex": "女", "age": 46},
        place="青禾路3号",
        loss="8万",
    )
    assert sorted(refused(post, own)) == [
        ("data.day", "value_day_ahead"),
        ("data.loss", "value_not_a_number"),
        ("data.person", "value_person_named"),
        ("data.place", "value_place_exact"),
    ]
    with pytest.raises(TemplateError) as caught:
        render_for("weibo", news(person="王某"), own, region=AGENCY)
    assert caught.value.problems[0].facts["example"] == (
        '{ name = "王某", sex = "女", age = 46 }'
    )


def test_a_signature_that_must_be_there_is_demanded(own):
    """Without the source that the template must have, the post is refused."""
    data = {key: value for key, value in DATA.items() if key != "source"}
    post = replace(news(), data=data)
    assert refused(post, own) == [("data.source", "template_data_missing")]


@pytest.mark.parametrize("topic", ["fruad", ["fraud"], {"fraud": 1}], ids=repr)
def test_a_topic_that_nobody_lists_is_refused(shipped, topic):
    """A mistyped topic would print the wrong numbers."""
    post = post_of(data={"summary": "x", "topic": topic})
    assert refused(post, shipped) == [("data.topic", "value_no_choice")]


def test_own_pages_win(written):
    """A page of the template itself is used before the shared one."""
    own = written(
        {
            "news/sample.toml": OWN,
            "news/weibo.txt": "自己的 {{ marker }} {{ data.day }} 110",
        },
        with_shipped=True,
    )
    text = render_for("weibo", news(), own, region=AGENCY).text
    assert text.startswith("自己的 ")
    assert "1月4日" in text


def test_an_older_page_may_still_extend_the_shared_ones(written):
    """Pages that agencies wrote on the blocks of the shared pages keep working."""
    page = (
        '{% extends "_shared/plain.txt" %}{% block kind %}本地{% endblock %}'
        "{% block details %}{{ body_text }}{% endblock %}"
        '{% block report %}{% include "_shared/report.txt" %}{% endblock %}'
    )
    own = written({"own/tieba.txt": page}, with_shipped=True)
    post = post_of(
        "own", level=None, body="正文", data={"summary": "要点", "advice": ["一"]}
    )
    text = render_for("tieba", post, own, region=AGENCY).text.replace("\r\n", "\n")
    assert text.startswith("本地｜北京市公安局")
    assert "要点。\n\n正文\n\n【防范提示】\n1. 一。\n" in text


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('[forms]\nday = "date"', "forms.day"),
        ('rules = ["no-such"]', "rules"),
        ('must = ["author"]', "must"),
        ('kinds = ["news"]', "kinds"),
        ('contacts = "somebody"', "contacts"),
        ("lead = [1]", "lead"),
        ('[[section]]\nkey = "a"\nas = "pie"', "section[0]"),
    ],
)
def test_a_wrong_key_of_a_sample_is_named(written, line, key):
    """A mistake in a sample.toml is a fault of the template."""
    own = written({"news/sample.toml": f'about = "x"\n{line}\n'})
    assert [problem.facts["name"] for problem in own.problems] == [key]


def render_sample(shipped, name, data):
    """Return the text of a template's example with these data, for Weibo."""
    post, original = sample_post(shipped, name)
    changed = replace(post, data={**post.data, **data})
    return render_for("weibo", changed, shipped, original=original).text


@pytest.mark.parametrize(
    ("data", "printed", "doubled"),
    [
        (
            {"measures": "目前，案件正在办理中。"},
            "目前，案件正在办理中。",
            "目前，目前",
        ),
        ({"facts": "经查,因停车推搡"}, "（男，41岁）因停车推搡。", "经查,"),
        ({"measures": "目前"}, "目前，目前。", "。。"),
    ],
)
def test_fixed_words_are_not_printed_twice(shipped, data, printed, doubled):
    """The opening of a sentence that the writer typed too is left out; alone it is a value."""
    text = render_sample(shipped, "notice", data)
    assert printed in text
    assert doubled not in text


def test_a_full_stop_before_a_comma_is_left_out(shipped):
    """A sentence that goes on after a field has no full stop in the middle."""
    text = render_sample(shipped, "case", {"story": "被转走存款。"})
    assert "被转走存款，避免损失12万元。" in text
