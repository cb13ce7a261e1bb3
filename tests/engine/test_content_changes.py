"""The changes between two contents, as seen by the approvers of the first."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.engine.content_changes import (
    CONTEXT_CHARACTERS,
    compare_contents,
    compare_texts,
)
from publisher.testing.builders import make_post, make_rendered_delivery
from publisher.testing.fakes import START_TIME

POST = make_post("p", ["a", "b"], START_TIME, title="谈钱先核实")


def contents(post=POST):
    return make_rendered_delivery(post, START_TIME).revision.rendered_posts


def side(pieces, left_out):
    return "".join(piece.text for piece in pieces if piece.kind != left_out)


@given(st.text("ab甲乙\n", max_size=50), st.text("ab甲乙\n", max_size=50))
def test_the_pieces_are_both_texts(before, after):
    """Without additions the pieces are the old text, without removals the new one."""
    pieces = compare_texts(before, after)
    if all("…" not in piece.text for piece in pieces):
        assert (side(pieces, "added"), side(pieces, "removed")) == (before, after)


def test_of_what_is_the_same_only_what_is_near_is_shown():
    """A word in a long text is found at once; the rest is left out."""
    same = "没变" * 200
    pieces = compare_texts(f"{same}不给人{same}", f"{same}绝不给人{same}")
    assert [piece.text for piece in pieces if piece.kind == "added"] == ["绝"]
    assert all(len(piece.text) <= 2 * CONTEXT_CHARACTERS + 1 for piece in pieces)


def test_long_texts_are_compared_in_no_time():
    """Texts with nothing in common are shown as a whole, not compared by character."""
    before, after = "甲" * 4_000, "乙" * 4_000
    assert [piece.kind for piece in compare_texts(before, after)] == [
        "removed",
        "added",
    ]


@pytest.mark.parametrize(
    ("before", "after", "removed", "added"),
    [
        ("请于3月15日前办理", "请于3月18日前办理", "3月15日", "3月18日"),
        ("被骗12万元。", "被骗120万元。", "12万元", "120万元"),
        ("损失3.5万元", "损失3.8万元", "3.5万元", "3.8万元"),
        ("三月十五日停电", "三月十八日停电", "三月十五日", "三月十八日"),
        ("晚上18:30开始", "晚上19:30开始", "18:30", "19:30"),
        ("请拨打010-1234", "请拨打010-1235", "010-1234", "010-1235"),
        ("下载 AppOne 即可", "下载 AppTwo 即可", "AppOne", "AppTwo"),
        ("当心诈骗电话。", "当心欺诈短信。", "诈骗电话", "欺诈短信"),
    ],
)
def test_words_numbers_and_dates_are_replaced_whole(before, after, removed, added):
    """A changed date or number is one replaced one, and a reworded place one replaced run."""
    pieces = compare_texts(before, after)
    assert [
        [piece.text for piece in pieces if piece.kind == kind]
        for kind in ("removed", "added")
    ] == [[removed], [added]]


def test_a_difference_is_listed_once_for_all_accounts_that_have_it_there():
    """A difference is listed once a place, though all accounts have it.

    Each account has its own number in its text, and the number has not changed.
    """
    changes = compare_contents(
        contents(), contents(replace(POST, title="谈钱一定先核实"))
    )
    assert [(change.fields, change.accounts) for change in changes.texts] == [
        (["title"], ["a", "b"]),
        (["text"], ["a", "b"]),
    ]
    assert [
        piece.text for piece in changes.texts[0].pieces if piece.kind == "added"
    ] == ["一定"]
    assert changes.number_of_accounts == 2


def test_a_difference_between_the_same_words_is_listed_once_for_all_platforms():
    """What a page shows of a difference is the same on both: it is shown once."""
    [first, _other] = contents()
    before, after = (
        [
            replace(first, account=name, platform=name, title="", summary="", text=text)
            for name, text in (("a", f"{item}。甲"), ("b", f"{item}。乙"))
        ]
        for item in (f"{SAME}先挂断{SAME}", f"{SAME}请先挂断{SAME}")
    )
    [change] = compare_contents(before, after).texts
    assert change.accounts == ["a", "b"]


SAME = "没变" * CONTEXT_CHARACTERS


def test_the_same_words_at_another_place_are_a_change_of_their_own():
    """Words added twice in a text are listed twice, and again where the title has them."""
    [first, _other] = contents()
    before, after = (
        [replace(first, title=title, summary="", text=text)]
        for title, text in (
            ("3月15日停电", "【3月15日停电】居民请注意。停电从3月15日晚上开始。"),
            ("3月18日停电", "【3月18日停电】居民请注意。停电从3月18日晚上开始。"),
        )
    )
    changes = compare_contents(before, after).texts
    assert [change.fields for change in changes] == [["title"], ["text"]]
    assert [piece.text for piece in changes[1].pieces if piece.kind == "added"] == [
        "3月18日",
        "3月18日",
    ]
    assert "停电从" in changes[1].pieces[3].text


@pytest.mark.parametrize(
    ("harmless", "meant"),
    [
        ("影片里的门牌号：{}，别当真。", "报警：{}，全天有人。"),
        ("骗子常说：放心吧！{}！请勿相信", "警方提醒：放心吧！{}！求助"),
        ("骗子常说：\n1. {}\n", "警方提醒：\n1. {}\n"),
        ("{}", "请拨打{}"),
    ],
)
def test_the_same_words_between_other_words_are_shown(harmless, meant):
    """No sign around a change joins it with one that an approver sees to be harmless."""
    [first, _other] = contents()
    before, after = (
        [
            replace(
                first,
                title="",
                summary=harmless.format(number),
                text=meant.format(number) + more,
            )
        ]
        for number, more in (("110", ""), ("021-5555", "可"))
    )
    changes = compare_contents(before, after).texts
    assert [change.fields for change in changes] == [["summary"], ["text"]]
    shown = "".join(piece.text for piece in changes[1].pieces)
    assert meant.format("110021-5555").split("\n")[-2:][0] in shown


def test_a_difference_shown_elsewhere_is_never_printed_as_unchanged():
    """What another platform's entry shows is left out beside a further difference of a text."""
    [first, _other] = contents()
    before, after = (
        [
            replace(first, account=name, platform=name, title="", summary="", text=text)
            for name, text in (
                ("a", f"{SAME}{day}{SAME}"),
                ("b", f"{SAME}{day}{SAME}{more}停电。"),
            )
        ]
        for day, more in (("3月15日", ""), ("3月18日", "当晚"))
    )
    _day, change = compare_contents(before, after).texts
    assert change.accounts == ["b"]
    assert "3月18日" not in "".join(piece.text for piece in change.pieces)


def test_accounts_that_come_and_go_are_named():
    """An account that is new, or gone, is no change of a text."""
    changes = compare_contents(contents(), contents(replace(POST, accounts=("b", "c"))))
    assert (changes.texts, changes.added_accounts, changes.removed_accounts) == (
        [],
        ["c"],
        ["a"],
    )


def test_of_an_article_the_words_are_compared_and_the_markup_apart():
    """A changed word is shown as such, and a change of the layout alone as a layout change.

    Nobody reads HTML.
    """
    [first, _other] = contents()
    old, words, layout = (
        [replace(first, text=text)]
        for text in (
            "<p>先核实</p><p>再转账</p>",
            "<p>先核实</p><p>不转账</p>",
            "<h2>先核实</h2><p>再转账</p>",
        )
    )
    assert [change.fields for change in compare_contents(old, words, {"a"}).texts] == [
        ["text"]
    ]
    assert [change.fields for change in compare_contents(old, layout, {"a"}).texts] == [
        ["markup"]
    ]
