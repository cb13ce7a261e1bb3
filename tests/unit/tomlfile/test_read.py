"""Reading a TOML file: the refusals, their reasons, and their lines and columns."""

import os
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.errors import InputError, Problem
from publisher.tomlfile.read import (
    ReadLimits,
    TomlDocument,
    find_excess,
    parse_toml,
    read_toml,
)
from publisher.tomlfile.syntax import QUOTED_OR_COMMENT
from publisher.tomlfile.validate import UnlocatedProblem

LIMITS = ReadLimits(max_bytes=100_000)


def refusal(text: str, limits: ReadLimits = LIMITS) -> Problem:
    with pytest.raises(InputError) as caught:
        parse_toml(text, "a.toml", limits)
    (problem,) = caught.value.problems
    return problem


def file_refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_toml(path, LIMITS)
    (problem,) = caught.value.problems
    assert problem.location is not None
    assert problem.location.file == str(path)
    return problem.code


def spot(problem: Problem) -> tuple[int, int, str]:
    assert problem.location is not None
    return problem.location.line, problem.location.column, problem.code


def test_a_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    """A byte-order mark and CRLF are accepted and leave no trace in values."""
    path = tmp_path / "a.toml"
    path.write_bytes('\ufefftitle = "警惕"\r\nbody = """\r\n一\r\n二"""\r\n'.encode())
    assert read_toml(path, LIMITS).data == {"title": "警惕", "body": "一\n二"}


def test_lines_are_counted_right_with_windows_line_ends() -> None:
    """CRLF does not shift the line or column of an error."""
    assert spot(refusal("\ufeffa = 1\r\n\r\nb = “x”\r\n")) == (3, 5, "fullwidth_quote")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("title = “警惕”", (1, 9, "fullwidth_quote")),
        ('title = "警惕”', (1, 12, "fullwidth_quote")),
        ('title = "警惕”\nto = 1', (1, 12, "fullwidth_quote")),
        ('to = ["a"，"b"]', (1, 10, "fullwidth_mark")),
        ("【【post】】", (1, 1, "fullwidth_mark")),
        ('id＝"x"', (1, 3, "fullwidth_mark")),
        ("at = 2026-11-25T09：00：00", (1, 19, "fullwidth_mark")),
        ("days = ２", (1, 8, "fullwidth_mark")),
        ('\u3000id = "x"', (1, 1, "fullwidth_space")),
        ('标题 = "x"', (1, 1, "key_not_ascii")),
        ('title = "警惕"退款"诈骗"', (1, 13, "text_after_value")),
        ('title = "警惕“退款”诈骗\nto = 1', (1, 9, "unclosed_text")),
        ('a = 1\nbody = """\n一\n二', (2, 8, "unclosed_text")),
        ("at = 2026-11-25T09:00", (1, 6, "time_without_seconds")),
        ("at = 2026-11-25 9:00:00", (1, 6, "bad_time")),
        ("at = 2026/11/25", (1, 6, "bad_time")),
        ("at = 2026-02-30T09:00:00", (1, 6, "bad_time")),
        ("a = 1\n  a = 2", (2, 3, "duplicate_key")),
        ('a = 1\na = """\n二\n"""', (2, 1, "duplicate_key")),
        ("a = {b = 1, b = 2}", (1, 13, "duplicate_key")),
        ("[a]\n[b]\n[a]", (3, 1, "duplicate_table")),
        ("[post]\n[[post]]", (1, 1, "single_brackets")),
        ("[[a]]\n[b.c]\n[ post ]\n[[post]]", (4, 1, "duplicate_table")),
        ("a = [1, 2", (1, 10, "unclosed_list")),
        ("[[post]\na = 1", (1, 7, "bad_header")),
        ("a", (1, 2, "no_equals")),
        ("a =\nb = 1", (1, 4, "value_missing")),
        ("a = yes", (1, 5, "bad_value")),
        (r'a = "C:\media"', (1, 10, "stray_backslash")),
        ('a = "\x01"', (1, 6, "invisible_character")),
    ],
)
def test_a_syntax_error_explains_itself(text: str, where: tuple[int, int, str]) -> None:
    """Every common mistake has its own code, at the character to change."""
    assert spot(refusal(text)) == where


def test_full_width_marks_inside_texts_are_fine() -> None:
    """Chinese punctuation within quotation marks or comments is never reported."""
    text = 'title = "警惕“退款”，诈骗" # 注意：“退款”\nbody = """\n【提醒】＝、\n"""'
    assert parse_toml(text, "a", LIMITS).data["title"] == "警惕“退款”，诈骗"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ('title = "警惕诈骗"'.encode("gbk"), "file_gbk"),
        (b'title = "\xff\xff"', "file_not_utf8"),
        ('title = "x"'.encode("utf-16"), "file_utf16"),
        (b"", "file_empty"),
        (b" \r\n\n", "file_empty"),
        (b"#" * 200_000, "file_too_big"),
    ],
)
def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, raw: bytes, code: str
) -> None:
    """Wrong encodings, empty and huge files each have their own code."""
    path = tmp_path / "a.toml"
    path.write_bytes(raw)
    assert file_refusal(path) == code


def test_gbk_is_shown_where_it_begins(tmp_path: Path) -> None:
    """The first byte that is not UTF-8 gives line and column."""
    path = tmp_path / "a.toml"
    path.write_bytes("# 中文\nid = 1\ntitle = ".encode() + '"警惕"'.encode("gbk"))
    with pytest.raises(InputError) as caught:
        read_toml(path, LIMITS)
    assert spot(caught.value.problems[0]) == (3, 10, "file_gbk")


def test_f68_anything_but_a_plain_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a link, a folder and a pipe are refused, and none of them blocks."""
    real = tmp_path / "real.toml"
    real.write_text("a = 1")
    (tmp_path / "link.toml").symlink_to(real)
    (tmp_path / "dangling.toml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.toml")
    assert file_refusal(tmp_path / "missing.toml") == "file_missing"
    assert file_refusal(real / "below.toml") == "file_missing"
    assert file_refusal(tmp_path / "link.toml") == "file_is_link"
    assert file_refusal(tmp_path / "dangling.toml") == "file_is_link"
    assert file_refusal(tmp_path) == "file_not_regular"
    assert file_refusal(tmp_path / "pipe.toml") == "file_not_regular"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_f68_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file without read permission is refused by its own code."""
    path = tmp_path / "a.toml"
    path.write_text("a = 1")
    path.chmod(0)
    assert file_refusal(path) == "file_unreadable"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a = " + "[" * 1_000_000, "too_deep"),
        ("a = " + "{b = " * 500_000, "too_deep"),
        ("a = " + "[\n" * 500_000 + "]\n" * 500_000, "too_deep"),
        ("a" + ".a" * 1_000_000 + " = 1", "key_too_long"),
        ("[" + 'a."b" . ' * 300_000 + "c]", "key_too_long"),
        ("a = " + "1" * 3_000_000, "word_too_long"),
        ("a = 0x" + "f" * 3_000_000, "word_too_long"),
        ("x" * 3_000_000, "word_too_long"),
        ('"""\\"' * 600_000, "no_equals"),
        ('"' * 3_000_000, "no_equals"),
        ("'''" * 900_000, "no_equals"),
        ('a = "' + "\\" * 3_000_000, "unclosed_text"),
        ("[[post]]\n" * 300_000 + "x", "no_equals"),
    ],
)
@pytest.mark.long
def test_f67_a_bomb_costs_no_time(text: str, code: str) -> None:
    """Input made to exhaust the parser is refused in time linear in its size."""
    began = time.process_time()
    assert refusal(text, ReadLimits(max_bytes=4 * 2**20)).code == code
    assert time.process_time() - began < 5


def test_the_limit_of_a_text_is_that_of_its_file() -> None:
    """An accepted text can be read as a file, although a Chinese character has three bytes."""
    limits = ReadLimits(max_bytes=1000)
    assert refusal(f'a = "{"警" * 400}"', limits).code == "file_too_big"
    assert parse_toml(f'a = "{"警" * 300}"', "a.toml", limits).data


def test_f67_the_excess_is_located() -> None:
    """The excess is shown with line and column, after texts that look alike."""
    text = 'a = "[[[[[[[[[[[[[[[[[[[[" # [[[[[[[[[[[[[[[[[[[[\nb = ' + "[" * 20
    assert spot(refusal(text)) == (2, 21, "too_deep")
    dotted = 'a = "x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x"\n  b' + ".b" * 30 + " = 1"
    assert spot(refusal(dotted)) == (2, 4, "key_too_long")


def test_plain_text_is_no_bomb() -> None:
    """Dots, brackets and long words inside texts are not limited."""
    prose = "。." * 40 + "[" * 40 + "a" * 500
    text = f'a = "{prose}"\nb = """{prose}"""\nc = \'{prose}\' # {prose}'
    assert parse_toml(text, "a", LIMITS).data["c"] == prose


@given(st.text(alphabet="\"'\\#[]{}\na=.,1 警", max_size=60))
def test_guards_never_refuse_what_is_small(text: str) -> None:
    """No short text is taken for a bomb, and quotes are read the way the parser reads them."""
    if "." * 16 not in "".join(char for char in text if char == "."):
        assert (
            find_excess(
                text,
                ReadLimits(
                    max_bytes=100, max_depth=60, max_key_parts=60, max_word_chars=100
                ),
            )
            is None
        )
    try:
        data = tomllib.loads(text)
    except ValueError:
        return
    bare = QUOTED_OR_COMMENT.sub("", text)
    assert not set("\"'#\\警") & set(bare), data


@given(st.text(alphabet="\"'\\#[]{}\na=.,:-T1“，＝警 ", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """For any text the result is data or one problem inside the text."""
    try:
        parse_toml(text, "a", LIMITS)
    except InputError as error:
        (problem,) = error.problems
        assert problem.location is not None
        lines = text.split("\n")
        assert 1 <= problem.location.line <= len(lines)
        assert 1 <= problem.location.column <= len(lines[problem.location.line - 1]) + 1


def test_values_are_found_at_every_place() -> None:
    """Values in tables, lists of tables, inline tables and lists are located, quoted keys too."""
    text = (
        "top = 1\n[other]\nx = 1\n[[post]]\nid = 'a'\n"
        "[[post]]\nid = '''b'''\nto = ['a',\n  'b']\n"
        'images = [{ file = "m", alt = "n" }]\n[post.text]\nweibo = "w"\n[post.data]\n"a/b~c" = 3\n'
        "[other.more]\ny = 2\n"
        "['other'.\"last\".z]\nq = 1\n[[post.part]]\nw = 1\n[[post.part]]\nw = 2\n"
    )
    toml = TomlDocument(file="a", text=text, data=tomllib.loads(text))
    expected = {
        ("top",): (1, 7),
        ("other", "x"): (3, 5),
        ("post", 0, "id"): (5, 6),
        ("post", 1, "id"): (7, 6),
        ("post", 1, "to", 1): (9, 3),
        ("post", 1, "images", 0, "alt"): (10, 31),
        ("post", 1, "text", "weibo"): (12, 9),
        ("post", 1, "data", "a/b~c"): (14, 11),
        ("post", 1, "missing"): (6, 1),
        ("other", "more", "y"): (16, 5),
        ("other", "last", "z", "q"): (18, 5),
        ("post", 1, "part", 1, "w"): (22, 5),
        ("post",): (4, 1),
        (): (1, 1),
    }
    found = dict(zip(expected, toml.locate_all(expected), strict=True))
    assert {loc: (place.line, place.column) for loc, place in found.items()} == expected
    assert found["post", 1, "to", 1].path == "post[1].to[1]"


def test_a_key_can_be_pointed_at() -> None:
    """A problem of a key is located at the key, not at its value."""
    text = "[a]\n  bad = 1\n  dotted.bad = 1\n"
    toml = TomlDocument(file="a", text=text, data=tomllib.loads(text))
    (problem,) = toml.locate_problems(
        [UnlocatedProblem(path=("a", "bad"), code="x", is_at_key=True)]
    )
    assert spot(problem) == (2, 3, "x")
    (problem,) = toml.locate_problems(
        [UnlocatedProblem(path=("a", "dotted", "bad"), code="x", is_at_key=True)]
    )
    assert spot(problem) == (3, 10, "x")


def test_only_so_many_problems_are_listed() -> None:
    """Beyond 200 problems only their number is reported."""
    text = "a = 1\n"
    toml = TomlDocument(file="a", text=text, data={"a": 1})
    problems = toml.locate_problems([UnlocatedProblem(path=("a",), code="x")] * 250)
    assert len(problems) == 201
    assert problems[-1].facts == {"number": "50"}


@pytest.mark.parametrize(
    "odd", ["\u202e", "\u200b", "\x1b", "\x9b", "\U000e0041", "\u3164"], ids=ascii
)
def test_f66_invisible_characters_are_refused_at_their_place(odd: str) -> None:
    """F66: in values, keys and comments, each with its line and column, named and not shown."""
    with pytest.raises(InputError) as caught:
        parse_toml(f'a = "请拨 1{odd}10"\n# {odd}\n"b{odd}" = 1\n', "a.toml", LIMITS)
    assert [spot(problem) for problem in caught.value.problems] == [
        (1, 10, "invisible_character"),
        (2, 3, "invisible_character"),
        (3, 3, "invisible_character"),
    ]
    assert {
        problem.facts["character"].split()[0] for problem in caught.value.problems
    } == {f"U+{ord(odd):04X}"}


def test_f66_an_invisible_character_by_escape_is_refused_at_its_value() -> None:
    """F66: an invisible character by escape is refused, and the problem names its value.

    In TOML an escape becomes the character.
    """
    with pytest.raises(InputError) as caught:
        parse_toml(
            r"""
[[post]]
title = "警惕\u202e诈骗"
[post.data]
tips = ["a", "1\u200b10", "\u001b[2J"]
""",
            "a.toml",
            LIMITS,
        )
    assert [
        (spot(each), each.location and each.location.path)
        for each in caught.value.problems
    ] == [
        ((3, 9, "invisible_character"), "post[0].title"),
        ((5, 14, "invisible_character"), "post[0].data.tips[1]"),
        ((5, 27, "invisible_character"), "post[0].data.tips[2]"),
    ]


def test_emoji_and_their_joiners_are_texts_like_others() -> None:
    """Emoji from phones are accepted."""
    assert parse_toml('a = "⚠️ 👨‍👩‍👧 1️⃣"', "a.toml", LIMITS).data == {"a": "⚠️ 👨‍👩‍👧 1️⃣"}
