"""An edit of one post leaves every other byte of the file as it is."""

import datetime as dt
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.schedule.edit import (
    add_post,
    edit_block,
    find_block,
    find_differences,
    find_post_spans,
    list_fields,
    make_entry,
)

FILE = '''#:schema ./schedule.schema.json
# 计划

# ── 诈骗 ──
[[post]]
id = "first"   # 不要改
kind = 'warning'
title = "警惕“退款客服”"
to = [
  "north", # 试点
  "south",
]
at = 2027-01-05T09:00:00
body = """
[[post]]
id = "not-a-post"
"""
[post.text]
weibo = "一句话"

[post.data]
summary = '原样 \\n 不变'
figures = [{ name = "甲", value = "1" }]

# 第二条的说明
[[post]]
id = "second"
kind = "bulletin"
title = "第二条"
to = ["all"]
data.summary = "点号写法"
# 第三条的说明
  [[ post ]]
  id = "third"
  title = "第三条"
  to = ["all"]
  data = { summary = "行内表" }
# 末尾的注释
'''
IDS = ("first", "second", "third")


def locate(text, post):
    return find_block(text, find_post_spans(text), post)


def edit_post(text, post, entry):
    return edit_block(text, locate(text, post), entry)


def others(text, post):
    """Return everything outside a post."""
    block = locate(text, post)
    return text[: block.start], text[block.end :]


def entry_of(text, post):
    return dict(locate(text, post).entry)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with mark"])
@pytest.mark.parametrize("post", IDS)
def test_a_changed_title_is_the_only_difference(post, mark, line_end):
    """Byte-order mark, line ends, comments, order and quotes stay, in the edited post too."""
    text = mark + FILE.replace("\n", line_end)
    entry = entry_of(text, post)
    edit = edit_post(text, post, {**entry, "title": "改过的标题"})
    assert edit.text == text.replace(
        f'title = "{entry["title"]}"', 'title = "改过的标题"'
    )
    assert [line.strip() for line in edit.diff if line[0] != " "] == [
        f'-{"  " * (post == "third")}title = "{entry["title"]}"',
        f'+{"  " * (post == "third")}title = "改过的标题"',
    ]


def test_one_item_of_a_list_goes_with_its_comment_and_the_others_stay():
    """A list over several lines keeps the lines that are not touched."""
    entry = entry_of(FILE, "first")
    removed = edit_post(FILE, "first", {**entry, "to": ["north"]}).text
    added = edit_post(FILE, "first", {**entry, "to": ["north", "south", "east"]}).text
    assert '"north", # 试点' in removed
    assert "south" not in removed
    assert '"north", # 试点\n  "south",\n' in added
    assert entry_of(added, "first")["to"] == ["north", "south", "east"]


@pytest.mark.parametrize("post", IDS)
def test_a_removed_post_leaves_all_else(post):
    """Only the post itself is removed; the comments around it and the other posts stay."""
    before, after = others(FILE, post)
    text = edit_post(FILE, post, None).text
    assert locate(text, post) is None
    assert text.startswith(before)
    assert text.endswith(after.removeprefix("\n"))


def test_a_new_post_stands_at_the_end_after_an_empty_line():
    """Nothing before it changes; a last line without an end gets one."""
    entry = {
        "id": "new",
        "kind": "warning",
        "title": "新",
        "to": ["all"],
        "data": {"summary": "一\n二"},
    }
    edit = add_post(FILE.rstrip("\n"), entry)
    assert edit.text.startswith(FILE + "\n[[post]]\n")
    assert tomllib.loads(edit.text)["post"][3] == entry
    assert edit.before == ""
    assert add_post("", entry).text == edit.after


def test_only_a_post_under_its_own_header_is_found():
    """An id inside a text, or of a post in a list on one line, is none that can be edited."""
    assert locate(FILE, "not-a-post") is None
    assert locate('post = [{ id = "inline" }]\n', "inline") is None
    assert locate(FILE, "first") is not None


TEXTS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), max_codepoint=0x9FFF)
    | st.sampled_from("\"\\\n\t'#=[]{}“"),
    max_size=30,
)
VALUES = (
    TEXTS
    | st.booleans()
    | st.integers(-5, 5)
    | st.lists(TEXTS, max_size=4)
    | st.lists(st.fixed_dictionaries({"name": TEXTS}), max_size=2)
    | st.datetimes(
        dt.datetime(2020, 1, 1),  # noqa: DTZ001
        dt.datetime(2030, 1, 1),  # noqa: DTZ001
    ).map(lambda at: at.replace(microsecond=0))
)
KEYS = st.sampled_from(["title", "body", "to", "at", "urgent", "images", "level"])
ENTRIES = st.builds(
    lambda keys, data, text: {
        **keys,
        **({"data": data} if data else {}),
        **({"text": text} if text else {}),
    },
    st.dictionaries(KEYS, VALUES, max_size=5),
    st.dictionaries(
        st.sampled_from(["summary", "signs", "figures", "新", "a.b"]),
        VALUES,
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(["weibo", "tieba"]), TEXTS, max_size=2),
)


@pytest.mark.long
@settings(max_examples=120, deadline=None)
@given(ENTRIES, st.sampled_from(IDS), st.booleans(), st.booleans())
def test_after_any_edit_the_others_are_the_same_bytes(
    entry, post, is_windows, has_mark
):
    """The edited post reads as wanted, and every other one keeps its bytes."""
    text = ("\ufeff" if has_mark else "") + (
        FILE.replace("\n", "\r\n") if is_windows else FILE
    )
    wanted = {"id": post, **entry}
    edited = edit_post(text, post, wanted).text
    assert others(edited, post) == others(text, post)
    expected = tomllib.loads(FILE)["post"]
    expected[IDS.index(post)] = wanted
    assert (
        tomllib.loads(edited.removeprefix("\ufeff").replace("\r\n", "\n"))["post"]
        == expected
    )


@settings(max_examples=60, deadline=None)
@given(ENTRIES, st.booleans())
def test_any_new_post_reads_as_it_was_written(entry, is_windows):
    """A new post reads as wanted, and the old text is a prefix of the new text."""
    text = FILE.replace("\n", "\r\n") if is_windows else FILE
    added = add_post(text, {"id": "new", **entry}).text
    assert added.startswith(text)
    assert tomllib.loads(added.replace("\r\n", "\n"))["post"][3] == {
        "id": "new",
        **entry,
    }


def test_differences_name_the_fields_that_two_people_want_differently():
    """A field that two people changed alike is no difference.

    A field that only the other person changed is marked as such.
    """
    base = {"title": "旧", "data": {"summary": "一", "wrong": "x"}, "at": 1}
    theirs = {"title": "他的", "data": {"summary": "同", "wrong": "x"}, "at": 2}
    mine = {"title": "我的", "data": {"summary": "同", "wrong": "x"}, "at": 1}
    found = list(find_differences(base, theirs, mine))
    assert [(item.key, item.theirs, item.mine) for item in found] == [
        ("title", "他的", "我的"),
        ("at", 2, 1),
    ]
    assert [item.is_mine_unchanged for item in found] == [False, True]


def test_fields_and_entry_are_each_other():
    """A post taken apart into fields can be put together."""
    entry = entry_of(FILE, "first")
    assert make_entry(list_fields(entry)) == entry
