"""From the text of a schedule to posts, or to every problem with its place."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.cover import CropPosition
from publisher.domain.errors import InputError, Problem, ScheduleError, Severity
from publisher.domain.kinds import PostKind
from publisher.domain.post import (
    CronTrigger,
    OneTimeTrigger,
    Post,
    Schedule,
    WarningLevel,
)
from publisher.i18n import Messages
from publisher.schedule.load import (
    SCHEDULE_READ_LIMITS,
    locate_problems,
    parse_leniently,
    parse_schedule,
)
from publisher.schedule.model import schedule_schema
from publisher.schedule.warnings import (
    find_early_follow_ups,
    find_overdue_posts,
    find_warnings,
)
from publisher.tomlfile.read import ReadLimits, parse_toml
from tests.unit.schedule.contexts import CONTEXT, ZONE, post, reported

FULL = '''[[post]]
id = "refund-scam-2026-11"
kind = "update"
template = "warning"
author = "zhang"
follows = "older-post"
level = "orange"
title = "警惕“退款客服”诈骗"
body = """
第一段

第二段"""
at = 2026-11-25T09:00:00
to = ["north", "all"]
expires = 2026-11-30T00:00:00Z
max_delay = "2h"
urgent = true
images = [{ file = "media/refund.png", alt = "截图" }]
[post.text]
weibo = "短文"
[post.data]
summary = "冒充客服"
steps = ["不信", "不转"]
'''

FIVE = """[[post]]
id = "a"
kind = "warnin"
template = "warning"
author = "zhang"
titel = "警惕"
at = "2026-11-25T09:00:00"
to = ["beijing-weibo",
  "beijng-wechat"]
[post.text]
webo = "短文"
"""


def read(text: str) -> Schedule:
    return parse_schedule(text, context=CONTEXT)


def refusal(text: str) -> ScheduleError:
    with pytest.raises(ScheduleError) as caught:
        read(text)
    return caught.value


def problems_of(text: str) -> Sequence[Problem]:
    try:
        read(text)
    except InputError as error:
        return error.problems
    return ()


def only_problem(text: str) -> Problem:
    (problem,) = refusal(text).problems
    return problem


def test_every_key_is_parsed() -> None:
    """A post that uses every key is parsed completely, with times in UTC."""
    (found,) = read(FULL).posts
    assert (found.id, found.kind, found.level, found.follows) == (
        "refund-scam-2026-11",
        PostKind.UPDATE,
        WarningLevel.ORANGE,
        "older-post",
    )
    assert found.trigger == OneTimeTrigger(at=datetime(2026, 11, 25, 1, tzinfo=UTC))
    assert found.expires_at == datetime(2026, 11, 30, tzinfo=UTC)
    assert found.max_delay == timedelta(hours=2)
    assert found.is_urgent
    assert found.accounts == ("tianjin-weibo", "beijing-weibo", "beijing-wechat")
    assert [(image.file, image.alt) for image in found.images] == [
        ("media/refund.png", "截图")
    ]
    assert found.text_by_platform == {"weibo": "短文"}
    assert found.data == {"summary": "冒充客服", "steps": ["不信", "不转"]}
    assert found.body == "第一段\n\n第二段"


def test_defaults_apply_when_nothing_is_set() -> None:
    """Half an hour of lateness, no urgency, no expiry of its own, no level."""
    (found,) = read(post()).posts
    assert (
        found.max_delay,
        found.is_urgent,
        found.expires_at,
        found.level,
        found.body,
    ) == (
        timedelta(minutes=30),
        False,
        None,
        None,
        "",
    )


def test_asap_has_no_instant() -> None:
    """A post that is due when approved has no time of its own."""
    assert read(post(at='at = "asap"')).posts[0].trigger == OneTimeTrigger(at=None)


def test_an_offset_is_kept() -> None:
    """A time with an offset means that instant."""
    assert read(post(at="at = 2026-11-25T09:00:00+09:00")).posts[
        0
    ].trigger == OneTimeTrigger(at=datetime(2026, 11, 25, tzinfo=UTC))


@pytest.fixture
def foreign_host() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.usefixtures("foreign_host")
def test_f62_the_host_zone_has_no_effect() -> None:
    """On a host in New York nine o'clock is still nine in Shanghai."""
    assert read(post()).posts[0].trigger == OneTimeTrigger(
        at=datetime(2026, 11, 25, 1, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    ("to", "accounts"),
    [
        ('["all"]', ("beijing-weibo", "beijing-wechat", "tianjin-weibo")),
        ('["platform:weibo"]', ("beijing-weibo", "tianjin-weibo")),
        ('["region:110000"]', ("beijing-weibo", "beijing-wechat")),
        ('["region:120000"]', ("tianjin-weibo",)),
        ('["north"]', ("tianjin-weibo", "beijing-weibo")),
        (
            '["beijing-wechat", "north", "beijing-wechat"]',
            ("beijing-wechat", "tianjin-weibo", "beijing-weibo"),
        ),
        ('["tianjin-tieba"]', ()),
    ],
)
def test_recipients_are_resolved(to: str, accounts: tuple[str, ...]) -> None:
    """Names, groups, platforms, regions and all become accounts, each once.

    Disabled accounts are left out.
    """
    assert read(post(to=f"to = {to}")).posts[0].accounts == accounts


def test_f66_five_mistakes_are_all_named_at_once() -> None:
    """A file with several mistakes reports each at its line and column, in file order."""
    assert reported(refusal(FIVE)) == [
        (1, 1, "post[0].title", "missing_key"),
        (3, 8, "post[0].kind", "not_one_of"),
        (6, 1, "post[0].titel", "unknown_key"),
        (7, 6, "post[0].at", "quoted_time"),
        (9, 3, "post[0].to[1]", "unknown_recipient"),
        (11, 1, "post[0].text.webo", "unknown_platform"),
    ]


def test_mistakes_suggest_what_was_meant() -> None:
    """Misspelt keys, accounts and platforms come with the nearest right word."""
    choices = {
        problem.code: problem.facts.get("choices") for problem in refusal(FIVE).problems
    }
    assert choices["unknown_key"] == "title"
    assert choices["unknown_recipient"] == "beijing-wechat"
    assert choices["unknown_platform"] == "weibo"


def test_places_survive_a_mark_and_windows_line_ends() -> None:
    """The same mistakes are at the same places in a file with a byte-order mark and CRLF."""
    assert reported(refusal("\ufeff" + FIVE.replace("\n", "\r\n"))) == reported(
        refusal(FIVE)
    )


def test_f66_a_double_id_names_both_lines() -> None:
    """The second of two posts with one id is the mistake; the fact names both lines."""
    problem = only_problem(post() + post())
    assert (problem.code, problem.facts) == (
        "duplicate_id",
        {"post": "scam-1", "first": "2", "second": "10"},
    )


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"id": 'id = "退款"'}, (2, 6, "post[0].id", "bad_name")),
        ({"id": f'id = "{"a" * 81}"'}, (2, 6, "post[0].id", "bad_name")),
        ({"id": 'id = "all"'}, (2, 6, "post[0].id", "reserved_id")),
        ({"id": 'id = "schedule"'}, (2, 6, "post[0].id", "reserved_id")),
        ({"id": "id = 7"}, (2, 6, "post[0].id", "wrong_type")),
        ({"kind": 'kind = "update"'}, (1, 1, "post[0].follows", "follows_missing")),
        ({"kind": 'kind = "all-clear"'}, (1, 1, "post[0].follows", "follows_missing")),
        ({"kind": 'kind = "correction"'}, (1, 1, "post[0].follows", "follows_missing")),
        (
            {"template": 'template = "warnings"'},
            (4, 12, "post[0].template", "unknown_template"),
        ),
        ({"author": 'author = " "'}, (5, 10, "post[0].author", "blank")),
        (
            {"at": f'cron = "{"1" * 5000} 1 * * *"'},
            (7, 8, "post[0].cron", "value_too_long"),
        ),
        (
            {"author": f'author = "{"张" * 65}"'},
            (5, 10, "post[0].author", "value_too_long"),
        ),
        ({"title": 'title = "一\\n二"'}, (6, 9, "post[0].title", "not_one_line")),
        (
            {"title": f'title = "{"长" * 121}"'},
            (6, 9, "post[0].title", "value_too_long"),
        ),
        (
            {
                "at": 'at = "asap"\nimages = ['
                + '{file = "media/a.png", alt = "a"}, ' * 21
                + "]"
            },
            (8, 10, "post[0].images", "too_many"),
        ),
        ({"at": ""}, (1, 1, "post[0].at", "no_time")),
        ({"at": "at = 2026-11-25"}, (7, 6, "post[0].at", "date_without_time")),
        ({"at": "at = 09:00:00"}, (7, 6, "post[0].at", "bad_time")),
        ({"at": 'at = "soon"'}, (7, 6, "post[0].at", "bad_time")),
        ({"at": 'at = "1月5日"'}, (7, 6, "post[0].at", "bad_time")),
        ({"at": "at = 1026-11-25T09:00:00"}, (7, 6, "post[0].at", "year_out_of_range")),
        ({"x": 'cron = "0 9 * * mon"'}, (9, 1, "post[0].cron", "at_and_cron")),
        ({"at": 'cron = "0 9 * *"'}, (7, 8, "post[0].cron", "cron_fields")),
        ({"at": 'cron = "0 0 9 * * mon"'}, (7, 8, "post[0].cron", "cron_fields")),
        ({"at": 'cron = "0 25 * * *"'}, (7, 8, "post[0].cron", "bad_cron")),
        ({"at": 'cron = "0 9 31 2 *"'}, (7, 8, "post[0].cron", "cron_no_such_day")),
        ({"at": 'cron = "* 9 * * *"'}, (7, 8, "post[0].cron", "cron_too_often")),
        (
            {
                "at": 'cron = "* * * * *"',
                "x": "from = 2026-11-25T09:00:00\nuntil = 2026-11-25T09:24:00",
            },
            (7, 8, "post[0].cron", "cron_too_often"),
        ),
        ({"at": 'cron = "0 9 31 2 99"'}, (7, 8, "post[0].cron", "bad_cron")),
        ({"at": 'cron = ["0 9 * * 1"]'}, (7, 8, "post[0].cron", "wrong_type")),
        ({"x": 'days = "working"'}, (9, 1, "post[0].days", "only_with_cron")),
        ({"x": "from = 2026-11-25T09:00:00"}, (9, 1, "post[0].from", "only_with_cron")),
        (
            {
                "at": 'cron = "0 9 * * 1"',
                "x": "from = 2026-11-25T09:00:00\nuntil = 2026-11-25T09:00:00",
            },
            (10, 9, "post[0].until", "until_before_from"),
        ),
        (
            {"x": "expires = 2026-11-25T09:00:00"},
            (9, 11, "post[0].expires", "expires_too_early"),
        ),
        (
            {"x": "expires = 2026-11-25T01:00:00Z"},
            (9, 11, "post[0].expires", "expires_too_early"),
        ),
        ({"x": 'max_delay = "2 hours"'}, (9, 13, "post[0].max_delay", "bad_duration")),
        ({"x": "max_delay = -1"}, (9, 13, "post[0].max_delay", "bad_duration")),
        ({"x": "max_delay = nan"}, (9, 13, "post[0].max_delay", "bad_duration")),
        ({"x": "max_delay = true"}, (9, 13, "post[0].max_delay", "bad_duration")),
        (
            {"x": '[post.region.130000]\ntitle = "河北"'},
            (9, 1, "post[0].region.130000", "region_not_addressed"),
        ),
        (
            {"x": '[post.region.110000]\ntitel = "北京"'},
            (10, 1, "post[0].region.110000.titel", "unknown_key"),
        ),
        (
            {"x": '[post.region.110000.text]\nwebo = "北京"'},
            (10, 1, "post[0].region.110000.text.webo", "unknown_platform"),
        ),
        ({"x": "region = 1"}, (9, 10, "post[0].region", "wrong_type")),
        ({"x": 'level = "purple"'}, (9, 9, "post[0].level", "not_one_of")),
        ({"x": 'urgent = "yes"'}, (9, 10, "post[0].urgent", "wrong_type")),
        ({"x": 'approved = "li"'}, (9, 1, "post[0].approved", "approved_in_file")),
        ({"to": 'to = "all"'}, (8, 6, "post[0].to", "wrong_type")),
        ({"to": "to = []"}, (8, 6, "post[0].to", "blank")),
        ({"to": 'to = ["region:999999"]'}, (8, 7, "post[0].to[0]", "unknown_region")),
        ({"to": 'to = ["platform:web"]'}, (8, 7, "post[0].to[0]", "unknown_platform")),
        (
            {"x": 'images = [{ file = "media/a.png" }]'},
            (9, 11, "post[0].images[0].alt", "missing_key"),
        ),
        (
            {
                "x": (
                    'images = [  # ]\n { file = "media/a]{", alt = "=," },\n'
                    ' { alt = "x", file = "media/b", no = 1 }]'
                )
            },
            (11, 33, "post[0].images[1].no", "unknown_key"),
        ),
        (
            {"x": 'images = [\n{ alt = "x", file = 7 }]'},
            (10, 21, "post[0].images[0].file", "wrong_type"),
        ),
        ({"to": 'to = ["all",\n "all",\n 7]'}, (10, 2, "post[0].to[2]", "wrong_type")),
        ({"x": "[post.text]\nweibo = ''"}, (10, 9, "post[0].text.weibo", "blank")),
        ({"x": 'follows = "scam-1"'}, (9, 11, "post[0].follows", "follows_itself")),
        ({"x": 'follows = "older-pst"'}, (9, 11, "post[0].follows", "follows_unknown")),
    ],
)
def test_f66_each_mistake_has_its_code_and_place(
    changes: dict[str, str], where: tuple[int, int, str, str]
) -> None:
    """One mistake gives one problem, with the line and column to change."""
    assert reported(refusal(post(**changes))) == [where]


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "../secret.png",
        "media/../../x.png",
        "media",
        "media/",
        "media//x.png",
        "mediax/a.png",
        "media/./a.png",
        r"media\\a.png",
        "C:/media/a.png",
    ],
)
def test_a_picture_stays_inside_media(file: str) -> None:
    """No spelling of a path leads out of the media folder."""
    problem = only_problem(post(x=f'images = [{{ file = "{file}", alt = "图" }}]'))
    assert problem.code == ("backslash_in_path" if "\\" in file else "outside_media")


@pytest.mark.parametrize(
    "crop",
    [
        "[50, 50]",
        "[50, 50, 100, 1]",
        "[-1, 50, 100]",
        "[50, 101, 100]",
        "[50, 50, 99]",
        "[50, 50, 301]",
        "[50.0, 50, 100]",
        "[true, 50, 100]",
        '"50 50 100"',
    ],
)
def test_a_crop_that_is_no_position_is_reported_where_it_stands(crop: str) -> None:
    """Three whole per cents are a position, and nothing else is."""
    image = f'{{ file = "media/a.png", alt = "图", crop_wide = {crop} }}'
    assert only_problem(post(x=f"images = [{image}]")).code == "bad_crop"


def test_a_post_without_a_crop_keeps_its_hash_and_one_with_another_does_not() -> None:
    """A changed cut of a cover ends approvals as any change does."""

    def parse(crop: str) -> Post:
        image = f'{{ file = "media/a.png", alt = "图"{crop} }}'
        [parsed] = read(post(x=f"images = [{image}]")).posts
        return parsed

    hashes = {
        crop: parse(crop).content_hash
        for crop in ("", ", crop_wide = [0, 50, 100]", ", crop_square = [0, 50, 100]")
    }
    assert len(set(hashes.values())) == len(hashes)
    assert parse(", crop_wide = [0, 50, 100]").images[0].crop_wide == CropPosition(x=0)


DATA = '[post.data]\nsummary = "x"'
IMAGE = 'file = "media/a.png"'
SLIPS: list[tuple[str, tuple[int, int, str], str, str]] = [
    (
        post(x='summary = "x"'),
        (9, 1, "key_of_data"),
        "移到这一条最后的 [post.data]",
        "move it below [post.data]",
    ),
    (
        post(to="", x=f'{DATA}\nto = ["all"]'),
        (10, 1, "key_of_post"),
        "移到 [post.data]",
        "above [post.data]",
    ),
    (
        post(x="[post.text]\nexpires = 2026-12-01T00:00:00"),
        (10, 1, "key_of_post"),
        "[post.text] 的上面",
        "above [post.data]",
    ),
    (
        post(x='[post.text]\nbody = "正文"'),
        (10, 1, "key_of_post"),
        "[post.text] 的上面",
        "above [post.data]",
    ),
    (post(x='levle = "red"'), (9, 1, "unknown_key"), "可能是：level", "meant: level"),
    (
        post(x="[post.date]\na = 1"),
        (9, 1, "unknown_key"),
        "可能是：data",
        "meant: data",
    ),
    (
        post(x="[[post.data]]\na = 1"),
        (9, 1, "double_brackets"),
        "单括号 [post.data]",
        "single brackets",
    ),
    (
        post(x="[data]\na = 1"),
        (9, 1, "header_without_post"),
        "[post.data]",
        "[post.data]",
    ),
    (post(x='text = "x"'), (9, 8, "wrong_type"), "[post.text]", "[post.text]"),
    (
        'id = "x"\n' + post(),
        (1, 1, "key_before_post"),
        "移到那一条的 [[post]] 下面",
        "below the [[post]]",
    ),
    (
        post().replace("[[post]]", "[[posts]]"),
        (1, 1, "unknown_key"),
        "可能是：post",
        "meant: post",
    ),
    (
        post().replace("[[post]]", "[post]"),
        (1, 1, "single_brackets"),
        "[[post]]",
        "[[post]]",
    ),
    (
        post() + post().replace("[[post]]", "[post]"),
        (9, 1, "single_brackets"),
        "[[post]]",
        "[[post]]",
    ),
    (
        post(x="[post data]\na = 1"),
        (9, 1, "bad_header"),
        "独占一行",
        "on a line of its own",
    ),
    (
        post(x='images = ["a.png"]'),
        (9, 11, "bad_images"),
        '{ file = "media/a.png", alt',
        '{ file = "media/a.png", alt',
    ),
    (
        post(x='images = "media/a.png"'),
        (9, 10, "bad_images"),
        '[{ file = "media/a.png"',
        '[{ file = "media/a.png"',
    ),
    (
        post(x=f"images = {{ {IMAGE} }}"),
        (9, 10, "bad_images"),
        "images = [{ file",
        "images = [{ file",
    ),
    (
        post(x=f"images = [{{ {IMAGE} }}]"),
        (9, 11, "missing_key"),
        'alt = "…"',
        'alt = "…"',
    ),
    (
        post(x=r"images = [{ file = 'media\x.png', alt = 'a' }]"),
        (9, 20, "backslash_in_path"),
        "media/x.png",
        "media/x.png",
    ),
    (
        post(x=r'images = [{ file = "media\x.png", alt = "a" }]'),
        (9, 20, "backslash_in_path"),
        "media/x.png",
        "media/x.png",
    ),
    (
        post(x=r'images = [{ file = "media\t.png", alt = "a" }]'),
        (9, 20, "backslash_in_path"),
        "media/t.png",
        "media/t.png",
    ),
    (
        post(x=f'images = [{{ {IMAGE} alt = "a" }}]'),
        (9, 34, "unclosed_list"),
        "英文逗号",
        "put a comma between",
    ),
    (
        post(x=f'images = [{{ {IMAGE},\n alt = "a" }}]'),
        (9, 11, "table_over_lines"),
        "接成一行",
        "join the lines",
    ),
    (
        post(x=f'images = [{{ {IMAGE}, alt = "a", }}]'),
        (9, 44, "comma_before_brace"),
        "删掉这个逗号",
        "delete this comma",
    ),
    (
        post(to='to = ["all"\nexpires = 2026-12-01T00:00:00'),
        (8, 6, "bracket_not_closed"),
        "补上 ]",
        "close it with ]",
    ),
    (
        post(to='to = ["all", "north"'),
        (8, 6, "bracket_not_closed"),
        "补上 ]",
        "close it with ]",
    ),
    (
        post(id='id = "a", author = "b"'),
        (2, 9, "comma_after_value"),
        "一行写一项",
        "one key a line",
    ),
    (post(title='title: "警惕"'), (6, 6, "colon_for_equals"), "项 = 值", "key = value"),
    (post(title='title "警惕"'), (6, 7, "no_equals"), "项 = 值", "key = value"),
    (post(x="// 备注"), (9, 1, "slash_comment"), "# ", "write #"),
    (post(id='id =\u00a0"a"'), (2, 5, "fullwidth_space"), "删掉它", "delete it"),
    (
        post(to='to = ["all"，"north"]'),
        (8, 12, "fullwidth_mark"),
        "英文输入法",
        "English keyboard",
    ),
    (
        post(at='at = "2026-11-5 9:00"'),
        (7, 6, "bad_time"),
        "2026-11-05T09:00:00",
        "2026-11-05T09:00:00",
    ),
    (
        post(at='at = "2026-11-05 9:00"'),
        (7, 6, "quoted_time"),
        "2026-11-05T09:00:00",
        "2026-11-05T09:00:00",
    ),
    (
        post(at="at = 2026/11/5 9:00"),
        (7, 6, "bad_time"),
        "2026-11-05T09:00:00",
        "2026-11-05T09:00:00",
    ),
    (
        post(at="at = 2026年11月5日9点"),
        (7, 6, "bad_time"),
        "2026-11-05T09:00:00",
        "2026-11-05T09:00:00",
    ),
    (
        post(at="at = 2026-11-05T08:30"),
        (7, 6, "time_without_seconds"),
        "2026-11-05T08:30:00",
        "2026-11-05T08:30:00",
    ),
    (
        post(at="at = 2026-11-05T25:00:00"),
        (7, 17, "no_such_clock_time"),
        "00 到 23",
        "00 to 23",
    ),
    (post(at="at = 2026-11-05T09:00:00+8"), (7, 25, "bad_offset"), "+08:00", "+08:00"),
    (
        post(at="at = 2026-11-05T09:00:00 CST"),
        (7, 26, "bad_offset"),
        "+08:00",
        "+08:00",
    ),
    (post(at='at = "立即"'), (7, 6, "asap_meant"), 'at = "asap"', 'at = "asap"'),
    (post(x='expires = "24h"'), (9, 11, "duration_for_time"), "max_delay", "max_delay"),
    (post(x="expires = 24"), (9, 11, "duration_for_time"), "max_delay", "max_delay"),
    (post(x='max_delay = "2 hours"'), (9, 13, "bad_duration"), '"2h"', '"2h"'),
    (
        post(x='urgent = "true"'),
        (9, 10, "quoted_bool"),
        "urgent = true",
        "urgent = true",
    ),
    (post(x="urgent = True"), (9, 10, "bad_value"), "true 或 false", "true and false"),
    (
        post(x='level = "oragne"'),
        (9, 9, "not_one_of"),
        "在前）：orange",
        "first: orange",
    ),
    (post(x='level = "黄色"'), (9, 9, "not_one_of"), "在前）：yellow", "first: yellow"),
    (
        post(kind='kind = "通报"'),
        (3, 8, "not_one_of"),
        "在前）：bulletin",
        "first: bulletin",
    ),
    (
        post(template='template = "waring"'),
        (4, 12, "unknown_template"),
        "可能是：warning",
        "meant: warning",
    ),
    (post(to='to = "all"'), (8, 6, "wrong_type"), '["all"]', '["all"]'),
    (post(to='to = ["ALL"]'), (8, 7, "unknown_recipient"), "可能是：all", "meant: all"),
    (
        post(to='to = ["weibo"]'),
        (8, 7, "unknown_recipient"),
        "可能是：platform:weibo",
        "meant: platform:weibo",
    ),
    (
        post(to='to = ["110000"]'),
        (8, 7, "unknown_recipient"),
        "可能是：region:110000",
        "meant: region:110000",
    ),
    (
        post(to='to = ["nroth"]'),
        (8, 7, "unknown_recipient"),
        "可能是：north",
        "meant: north",
    ),
    (
        post(to='to = ["all、north"]'),
        (8, 7, "names_in_one_text"),
        '["all", "north"]',
        '["all", "north"]',
    ),
    (post(title='title = ""'), (6, 9, "blank"), "不能为空", "must not be blank"),
    (post(title=""), (1, 1, "missing_key"), 'title = "…"', 'title = "…"'),
    (
        post(x='follows = "older-pst"'),
        (9, 11, "follows_unknown"),
        "可能是：older-post",
        "meant: older-post",
    ),
    (
        post(at='cron = "0 9 31 4 *"'),
        (7, 8, "cron_no_such_day"),
        "第 4 个月没有 31 日",
        "month 4 has no day 31",
    ),
    (
        post(at='cron = "* 9 * * 1-5"'),
        (7, 8, "cron_too_often"),
        "一次写 0 9 * * *",
        "at nine is 0 9 * * *",
    ),
]


@pytest.mark.parametrize(("text", "where", "chinese", "english"), SLIPS)
def test_each_slip_says_how_to_correct_it(
    text: str, where: tuple[int, int, str], chinese: str, english: str
) -> None:
    """A slip of staff has one problem with line, column and the remedy in both languages."""
    problem = only_problem(text)
    assert problem.location is not None
    assert (problem.location.line, problem.location.column, problem.code) == where
    assert chinese in Messages("zh_CN").format_problem(problem)
    assert english in Messages("en").format_problem(problem)


def test_problems_beside_the_posts_are_reported_too() -> None:
    """A wrong top-level key and a mistake inside a post are reported together."""
    text = "zone = 1\n" + post(author="")
    assert reported(refusal(text)) == [
        (1, 1, "zone", "unknown_key"),
        (2, 1, "post[0].author", "missing_key"),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[post]\nid = "a"', "single_brackets"),
        ("post = 3", "wrong_type"),
        ("post = [1]", "wrong_type"),
        ("[[posts]]\nid = 1", "unknown_key"),
    ],
)
def test_a_file_of_the_wrong_structure_is_reported(text: str, code: str) -> None:
    """Single brackets, wrong names and bare values in place of posts are reported as such."""
    assert only_problem(text).code == code


def test_follow_ups_may_not_form_a_circle() -> None:
    """Each post of a circle is reported; one that merely leads into the circle is not."""

    def follower(name: str, original: str) -> str:
        return post(
            id=f'id = "{name}"', kind='kind = "update"', x=f'follows = "{original}"'
        )

    text = (
        follower("a", "b")
        + follower("b", "c")
        + follower("c", "a")
        + follower("d", "a")
    )
    problems = refusal(text).problems
    assert [(problem.code, problem.facts["post"]) for problem in problems] == [
        ("follows_cycle", name) for name in ("a", "b", "c")
    ]


def test_a_broken_original_is_not_called_missing() -> None:
    """A follow-up is not blamed for a mistake in the post it follows."""
    text = post(author="") + post(
        id='id = "b"', kind='kind = "update"', x='follows = "scam-1"'
    )
    assert [problem.code for problem in refusal(text).problems] == ["missing_key"]


def test_comments_alone_are_an_empty_schedule() -> None:
    """A file without any post is valid, as all may have been removed on purpose."""
    assert read("# nothing for now\n").posts == ()


@pytest.mark.parametrize(
    ("changes", "is_edit"),
    [
        ({"at": "at = 2026-12-25T09:00:00"}, False),
        ({"at": 'at = "asap"'}, False),
        ({"to": 'to = ["north"]'}, False),
        ({"x": 'max_delay = "1800s"'}, False),
        ({"x": "urgent = false"}, False),
        ({"title": 'title = "新题"'}, True),
        ({"x": 'body = "正文"'}, True),
        ({"x": "[post.text]\nweibo = '短'"}, True),
        ({"x": "[post.data]\na = 1"}, True),
        ({"x": 'level = "red"'}, True),
        ({"x": "urgent = true"}, True),
        ({"x": "expires = 2026-11-26T00:00:00"}, True),
        ({"at": 'cron = "0 9 * * 1"'}, True),
    ],
)
def test_the_definition_distinguishes_edits_from_moves(
    changes: dict[str, str], *, is_edit: bool
) -> None:
    """A new text is an edit; another time, other recipients or another spelling are not."""
    before, after = (
        read(text).posts[0].content_hash for text in (post(), post(**changes))
    )
    assert (before != after) is is_edit


def test_the_definition_does_not_depend_on_spelling() -> None:
    """The same instant with and without offset is the same definition."""
    with_offset = read(post(x="expires = 2026-11-26T01:00:00+09:00")).posts[0]
    assert (
        with_offset.content_hash
        == read(post(x="expires = 2026-11-26T00:00:00")).posts[0].content_hash
    )


def test_repeating_posts_keep_their_limits() -> None:
    """Cron text, from, until and working days reach the post."""
    text = post(
        at='cron = "0 9 * * mon"\nfrom = 2026-11-01T00:00:00\n'
        'until = 2026-12-01T00:00:00\ndays = "working"'
    )
    assert read(text).posts[0].trigger == CronTrigger(
        text="0 9 * * mon",
        since=datetime(2026, 10, 31, 16, tzinfo=UTC),
        until=datetime(2026, 11, 30, 16, tzinfo=UTC),
        days="working",
    )


def test_past_posts_are_recognised() -> None:
    """Only one-off posts beyond their lateness are past.

    The fact names the post, and a place can be found.
    """
    text = (
        post(id='id = "on-time"')
        + post(id='id = "late"', at="at = 2026-11-25T08:29:59")
        + post(id='id = "now"', at='at = "asap"')
    )
    now = datetime(2026, 11, 25, 9, tzinfo=ZONE)
    problems = find_overdue_posts(read(text), now)
    assert [problem.facts["post"] for problem in problems] == ["late"]
    assert problems[0].facts["at"] == "2026-11-25 08:29:59"
    assert problems[0].severity is Severity.ERROR
    (placed,) = locate_problems(problems, text=text, file="s.toml")
    assert placed.location is not None
    assert (placed.location.file, placed.location.line, placed.location.column) == (
        "s.toml",
        15,
        6,
    )
    assert placed.location.path == "post[1].at"


def test_posts_without_effect_are_warned_of() -> None:
    """A post without recipients, and working days of a year without a calendar, are warnings."""
    text = post(to='to = ["tianjin-tieba"]') + post(
        id='id = "b"', at='cron = "0 9 * * *"\ndays = "working"'
    )
    start = datetime(2098, 12, 31, tzinfo=ZONE)
    problems = find_warnings(read(text), start, start + timedelta(days=2), ZONE)
    assert [(problem.code, problem.severity) for problem in problems] == [
        ("no_recipients", Severity.WARNING),
        ("no_holiday_data", Severity.WARNING),
        ("no_holiday_data", Severity.WARNING),
    ]


def test_a_level_without_basis_is_warned_of() -> None:
    """A level names its basis, or belongs to an emergency, as no law gives a fraud a colour."""
    data = [
        "",
        'data.level_basis = "本单位规定"',
        'data.topic = "emergency"',
        'data.topic = "other"',
    ]
    text = "".join(
        post(id=f'id = "p{number}"\nlevel = "red"\n{line}')
        for number, line in enumerate(data)
    )
    text += post(
        id='id = "over"\nlevel = "red"\nfollows = "older-post"',
        kind='kind = "all-clear"',
    )
    start = datetime(2026, 11, 25, tzinfo=ZONE)
    problems = find_warnings(read(text), start, start + timedelta(days=2), ZONE)
    assert [(problem.code, problem.facts["post"]) for problem in problems] == [
        ("level_without_basis", "p0"),
        ("level_without_basis", "p3"),
    ]


def test_posts_without_mistakes_are_still_checked() -> None:
    """Posts without mistakes are still checked in a broken file.

    Every mistake is reported.
    """
    text = (
        post(id='id = "sound"')
        + post(id='id = "late"', at='at = "2026-11-25"', x="urgnt = true")
        + post(id='id = "nobody"', to='to = ["nobody"]')
        + post(id='id = "sound"')
        + post(id='id = "untitled"', title="title = 7")
        + post(id='id = "never"', at='cron = "0 99 * * *"')
    )
    schedule, problems = parse_leniently(
        parse_toml(text, "s.toml", SCHEDULE_READ_LIMITS), CONTEXT
    )
    assert [found.id for found in schedule.posts] == ["sound", "late"]
    assert reported(ScheduleError(problems)) == reported(refusal(text))


def test_a_key_inside_a_table_has_its_place() -> None:
    """A problem may name a key below the post's own, in a table or a list."""
    text = post(
        x='images = [{ file = "media/a.png", alt = "x" }]\n[post.data]\nsummary = "…"'
    )
    keys = ("data.summary", "images.0.alt", "images.1.alt")
    problems = [Problem(code="x", facts={"post": "scam-1", "key": key}) for key in keys]
    places = [problem.location for problem in locate_problems(problems, text=text)]
    assert [place and (place.line, place.column) for place in places] == [
        (11, 11),
        (9, 41),
        (9, 10),
    ]
    assert places[1] is not None
    assert places[1].path == "post[0].images[0].alt"


@pytest.mark.long
def test_f67_many_mistakes_are_refused_quickly() -> None:
    """A file of nothing but mistakes is refused quickly, with a bounded list."""
    began = time.process_time()
    error = refusal("[[post]]\n" * 300_000)
    assert len(error.problems) <= 201
    many_keys = post() + "".join(f"k{number} = 1\n" for number in range(200_000))
    assert [problem.code for problem in refusal(many_keys).problems] == [
        "more_problems"
    ]
    assert time.process_time() - began < 15


@pytest.mark.long
def test_f67_many_unknown_originals_are_refused_quickly() -> None:
    """A similar id is searched for only a few unknown originals.

    Each search compares with every id of the file.
    """
    text = "".join(
        post(id=f'id = "p-{n}"', kind='kind = "update"', x=f'follows = "q-{n}"')
        for n in range(3000)
    )
    began = time.process_time()
    problems = refusal(text).problems
    assert [problem.facts["choices"] != "…" for problem in problems[:30]] == [
        True
    ] * 20 + [False] * 10
    assert time.process_time() - began < 5


def test_a_thousand_posts_take_no_time() -> None:
    """A large schedule is read within half a second of processor time.

    A mistake at its end is found as fast.
    """
    text = "".join(post(id=f'id = "p-{number}"') for number in range(1000))
    began = time.process_time()
    assert len(read(text).posts) == 1000
    error = refusal(text + post(id='id = "last"', kind='kind = "x"'))
    assert reported(error) == [(8003, 8, "post[1000].kind", "not_one_of")]
    assert time.process_time() - began < 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(FULL.splitlines() + FIVE.splitlines()), max_size=24),
)
def test_any_mix_of_lines_is_read_or_refused(lines: list[str]) -> None:
    """However lines are mixed, the result is a schedule or problems inside the file."""
    text = "\n".join(lines)
    assert all(
        problem.location and 1 <= problem.location.line <= max(1, len(lines))
        for problem in problems_of(text)
    )


def test_the_schema_explains_every_key() -> None:
    """Editors show the meaning of each key of a post in Chinese."""
    schema = schedule_schema()
    keys = schema["$defs"]["PostEntry"]["properties"]
    assert {
        "from",
        "until",
        "days",
        "max_delay",
        "urgent",
        "images",
        "text",
        "data",
    } <= set(keys)
    assert all(
        any(letter > "一" for letter in key["description"]) for key in keys.values()
    )
    assert schema["$defs"]["PostEntry"]["additionalProperties"] is False


def test_limits_can_be_widened() -> None:
    """A file beyond the usual size is refused, and read where a greater size is allowed."""
    text = post() + "#" * SCHEDULE_READ_LIMITS.max_bytes
    assert only_problem(text).code == "file_too_big"
    assert parse_schedule(
        text,
        context=CONTEXT,
        limits=ReadLimits(max_bytes=2 * SCHEDULE_READ_LIMITS.max_bytes),
    ).posts


EVERY_FIELD = post(
    at='cron = "0 9 * * *"',
    x="""
follows = "older-post"
level = "red"
body = "正文"
from = 2026-12-01T00:00:00
until = 2026-12-31T00:00:00
days = "working"
expires = 2027-01-01T00:00:00
max_delay = "2h"
urgent = true
images = [{ file = "media/card.png", alt = "提示卡" }]
[post.text]
weibo = "微博用的正文"
[post.data]
summary = "退款不用转账"
""",
)


@pytest.mark.parametrize(
    ("text", "content", "target"),
    [
        pytest.param(
            post(),
            "3c08572d67a49c9846ffdf5dd7d964e595bf029c6663922a8028c43c60a90d41",
            "b01fe1ccc0d7a7afaec2f2bad6206954e361fcafbf07e3b12ab2780a717a0e37",
            id="few fields",
        ),
        pytest.param(
            EVERY_FIELD,
            "f2dbec1cf00fd96bf103666a922e3798639a2c81baf4a47d942d3f489dec445d",
            "95b73f1b2fbc55cc8dd444df3fb2624a2bd610494b125bcab8e78dbbb18d092f",
            id="every field",
        ),
    ],
)
def test_the_hashes_of_a_post_do_not_change_between_versions(
    text, content, target
) -> None:
    """A later version of the program takes no stored post for an edited one."""
    [found] = read(text).posts
    assert (found.content_hash, found.target_hash) == (content, target)


@pytest.mark.parametrize("order", [1, -1])
def test_a_follow_up_before_its_original_is_reported(order) -> None:
    """A follow-up before its original is an error, in either order in the file."""
    original = post(id='id = "second"', at="at = 2026-11-25T10:00:00")
    early = post(
        id='id = "first"', at="at = 2026-11-25T09:59:59", x='follows = "second"'
    )

    def find(*texts):
        posts = read("".join(texts[::order])).posts
        return [
            (problem.code, problem.facts["post"], problem.is_error)
            for problem in find_early_follow_ups(
                posts, {post.id: post for post in posts}
            )
        ]

    assert find(original, early) == [("follows_too_early", "first", True)]
    assert find(original, early.replace("09:59:59", "10:00:00")) == []


def test_f90_unknown_recipients_are_compared_with_all_names_a_few_times_only() -> None:
    """F90: a thousand of them took a minute, under the turn of all who preview."""
    names = ", ".join(f'"nobody-{number:04}"' for number in range(1_900))
    began = time.process_time()
    with pytest.raises(ScheduleError) as caught:
        read(post(to=f"to = [{names}]"))
    assert len(caught.value.problems) > 100
    assert time.process_time() - began < 5


def test_what_looks_like_a_kind_with_more_approvals_is_refused() -> None:
    """A bulletin in the template of warnings would go out with the approvals of bulletins."""
    two = (Stage(name="审核", people=2),)
    by_kind = ApprovalRules(default=two, by_kind={"bulletin": ()})
    text = post(kind='kind = "bulletin"')
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(
            text, file="s.toml", context=replace(CONTEXT, approval_rules=by_kind)
        )
    assert reported(caught.value) == [
        (4, 12, "post[0].template", "template_of_other_kind")
    ]
    alike = replace(CONTEXT, approval_rules=ApprovalRules(default=two))
    assert parse_schedule(text, file="s.toml", context=alike).posts
