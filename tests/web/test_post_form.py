"""The form of a post and the post convert into each other.

An untouched field is saved as it was.
"""

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from starlette.datastructures import FormData

from publisher.rendering.child import RenderWorker
from publisher.rendering.templates import load_templates, shipped_templates
from publisher.web.kit.forms import read_reason
from publisher.web.write.post_form import (
    clean_text,
    dump_entry,
    fill_form,
    load_entry,
    read_entry,
    suggest_id,
)

ROOT = Path(__file__).parents[2]
ZONE = ZoneInfo("Asia/Shanghai")
SAMPLES = load_templates([shipped_templates()], RenderWorker()).samples
SHIPPED = tomllib.loads((ROOT / "schedule.toml").read_text("utf-8"))["post"]
ODD = {
    **SHIPPED[0],
    "at": datetime(2027, 1, 5, 1, 0, 30, tzinfo=UTC),
    "max_delay": 7200,
    "text": {"weibo": "一句话"},
    "data": {**SHIPPED[0]["data"], "unknown": [1, {"a": 2}]},
}


@pytest.mark.parametrize("entry", [*SHIPPED, ODD], ids=lambda entry: entry["id"])
def test_an_untouched_form_is_the_post_as_it_was(entry):
    """Instants with an offset, numbers and data that no field shows keep their value and type."""
    fields = fill_form(entry, ZONE, SAMPLES)
    assert (
        read_entry(fields, load_entry(dump_entry(entry)), SAMPLES, ZONE, "李") == entry
    )


def test_a_new_form_makes_each_key_of_its_fields():
    """Empty fields make no key; lists have an item a line, figures a row of inputs."""
    fields = {
        "kind": ["bulletin"],
        "title": [" 数据通报 "],
        "when": ["repeat"],
        "repeat": ["working"],
        "repeat_time": ["09:05"],
        "until_date": ["2027-06-30"],
        "to": ["north", "north", "platform:weibo"],
        "level": [""],
        "body": [""],
        "data.summary": ["一\r\n二"],
        "data.figures.name": ["破案", "", "抓获"],
        "data.figures.value": ["43.7万起", "", "1人"],
        "data.signs": ["别的模板的"],
    }
    assert read_entry(fields, {}, SAMPLES, ZONE, "王") == {
        "author": "王",
        "id": "",
        "kind": "bulletin",
        "template": "bulletin",
        "title": "数据通报",
        "cron": "5 9 * * *",
        "days": "working",
        "until": datetime(2027, 6, 30, 23, 59),  # noqa: DTZ001 # as the file has it
        "to": ["north", "platform:weibo"],
        "data": {
            "summary": "一\n二",
            "figures": [
                {"name": "破案", "value": "43.7万起"},
                {"name": "抓获", "value": "1人"},
            ],
        },
    }


def test_what_a_word_processor_leaves_is_taken_out():
    """Hard spaces become spaces, characters that nobody sees go, emoji stay."""
    assert clean_text("一\xa0二\u200b三\ufeff\r\n四👩‍🚒") == "一 二三\n四👩‍🚒"


def test_a_reason_has_no_invisible_character():
    """A line of the record cannot be made to read otherwise."""
    assert (
        read_reason(FormData({"reason": " 密码\u202e被改\u200b\n了 "})) == "密码被改 了"
    )


def test_an_id_is_made_of_the_title():
    """It is pinyin and the month."""
    now = datetime(2027, 1, 5, tzinfo=UTC)
    assert (
        suggest_id("警惕“刷单返利”！" + "重" * 9_999_999, now)
        == "jing-ti-shua-dan-fan-li-2027-01"
    )


def test_a_base_that_was_tampered_with_is_no_post():
    """A base that was tampered with is no post.

    Any text that a browser sends as the post to change is a table or nothing.
    """
    assert [
        load_entry(text)
        for text in ("", "x", "post = 1", "[[post]]\nid = 1", "post = [2]")
    ] == [
        {},
        {},
        {},
        {"id": 1},
        {},
    ]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_typed_values_are_read_as_they_were_shown(name):
    """People, days, sums and figures keep their types from the file to the form and back."""
    sample = SAMPLES[name]
    entry = {"template": name, "kind": "bulletin", "data": dict(sample.data)}
    fields = fill_form(entry, ZONE, SAMPLES)
    made = read_entry(fields, {}, SAMPLES, ZONE, "李")
    assert made["data"] == sample.data
    assert load_entry(dump_entry(entry))["data"] == sample.data


def test_a_number_that_cannot_be_read_stays_as_it_was_typed():
    """The check refuses it at its field."""
    fields = {
        "template": ["case"],
        "data.loss": ["八万"],
        "data.day": ["昨天"],
        "data.person.name": ["王某"],
        "data.person.sex": ["女"],
        "data.person.age": ["四十六"],
    }
    made = read_entry(fields, {}, SAMPLES, ZONE, "李")
    assert made["data"] == {
        "loss": "八万",
        "day": "昨天",
        "person": {"name": "王某", "sex": "女", "age": "四十六"},
    }
