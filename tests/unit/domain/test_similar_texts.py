"""A listed copy of our own post is a possible match, however it is cut; a different text is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain import verification
from publisher.domain.account import AccountId
from publisher.domain.post import OccurrenceKey, PostId, derive_marker, normalize
from publisher.domain.verification import (
    MAX_KEPT_CHARACTERS,
    MIN_PREFIX_CHARS,
    is_similar,
    matches_text,
)

KEY = OccurrenceKey(post=PostId("refund-scam"), occurrence="once")
MARKER = derive_marker(KEY, AccountId("beijing-weibo"))
OTHER = derive_marker(KEY, AccountId("shanghai-weibo"))
WORDS = "凡是要求共享屏幕、转账到安全账户的都是诈骗，请立即挂断并拨打96110。"
TITLE = "警惕“退款客服”诈骗"
LINK = f"https://example.gov.cn/n/{MARKER.code}"
TEXT = f"【{TITLE}】〔{MARKER.code}〕{WORDS} {LINK}"
ENDINGS = (
    "…",
    "...",
    "……",
    "。。。",
    "… 全文",
    "...全文：http://m.weibo.cn/1/2",
    " 展开",
    "…[查看全文]",
    "… Full text",
    "...Read more >",
)


def full_width(text: str) -> str:
    return "".join(
        chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text
    )


@pytest.mark.parametrize(
    "theirs",
    [
        f"{TITLE}{WORDS}",
        f"{TITLE}{WORDS} http://t.cn/A6xyz",
        f"{TITLE}{WORDS} 网页链接",
        full_width(TITLE + WORDS),
        f" {TITLE}\n{WORDS[:9]} {WORDS[9:]}",
        f"{TITLE}[{MARKER.code.lower()}]{WORDS}",
        f"{TITLE}{WORDS}来自平安发布",
    ],
)
def test_the_same_text_matches_whatever_the_platform_changed_f54(theirs):
    """F54: the same text with a platform's changes is still a reason to ask a person.

    Changes are shortened links, a lost marker, changed width and spaces, and a tail.
    """
    assert is_similar([TEXT], [theirs], MARKER)


@pytest.mark.parametrize(
    "spelled",
    [TEXT, TEXT.replace(MARKER.code, ""), TEXT.replace(LINK, "http://t.cn/A6xyz")],
)
def test_every_beginning_of_sufficient_length_matches_f54(spelled):
    """F54: any sufficient beginning of our text may be ours, wherever a list cuts.

    The cut may be in the marker and in the link as well.
    """
    for end in range(len(spelled) + 1):
        if len(normalize(spelled[:end])) >= MIN_PREFIX_CHARS:
            assert is_similar([TEXT], [spelled[:end]], MARKER), spelled[:end]


@pytest.mark.parametrize("escaped", ["&quot;A&amp;B&quot; ", "&#34;A&#x26;B&#34; "])
@pytest.mark.parametrize("is_linked", [True, False])
def test_a_cut_copy_with_html_entities_matches_f54(escaped, is_linked):
    """F54: an entity counts as its character, before the cut and in either spelling of links."""
    link = f"{LINK} " if is_linked else ""
    shown = f"{escaped}{'网页链接 ' if is_linked else ''}{WORDS[:12]}"
    assert is_similar([f'"A&B" {link}{WORDS}'], [f"{shown}…"], MARKER)
    assert not is_similar([f'"A&C" {link}{WORDS}'], [f"{shown}…"], MARKER)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_text_marked_as_cut_may_have_any_length_f54(ending):
    """F54: with an ellipsis or a link to the full text a single word is enough, even none."""
    for end in range(len(TEXT)):
        assert is_similar([TEXT], [TEXT[:end] + ending], MARKER), TEXT[:end] + ending


@pytest.mark.parametrize(
    "theirs",
    [
        ("警惕“退款客…", ""),
        ("警惕“退款客…", WORDS[:10]),
        ("警惕“退款客…", f"{WORDS}…"),
        (TITLE, ""),
        (TITLE, WORDS[:3]),
        ("", WORDS[:20]),
        ("", f"{WORDS[:4]}…"),
        (f"{TITLE} 网页链接", f"{WORDS} 网页链接"),
    ],
)
def test_title_and_text_may_be_cut_separately_f54(theirs):
    """F54: a list may show a title alone, or cut title and text separately."""
    assert is_similar((TITLE, WORDS), theirs, MARKER)


@pytest.mark.parametrize(
    "theirs",
    [
        "今天天气很好",
        f"【{TITLE}】〔{OTHER.code}〕{WORDS} {LINK}",
        f"【{TITLE}】〔{OTHER.code}…",
        f"【{TITLE}】请注意",
        f"【{TITLE}】请注意…全文",
        f"【{TITLE[:-2]}信息泄露",
        "【警惕",
        "",
        "全",
    ],
)
def test_a_different_or_too_short_text_does_not_match_f55(theirs):
    """F55: a common beginning is no match if the visible text differs afterwards.

    A word or two is no match either.
    """
    assert not is_similar([TEXT], [theirs], MARKER)


@pytest.mark.parametrize(
    "theirs",
    [
        ("警惕“退款客…", "今天天气很好"),
        (f"{TITLE}第二期", ""),
        (f"{TITLE}第二期", WORDS[:20]),
        ("警惕", ""),
        ("警惕", "凡是"),
        ("", ""),
        ("今天天气很好", f"{WORDS[:20]}…"),
    ],
)
def test_no_part_may_differ_f55(theirs):
    """F55: another post of a series is no match.

    A post that shares only the beginning of its title is none either.
    """
    assert not is_similar((TITLE, WORDS), theirs, MARKER)


def test_a_post_without_text_matches_none():
    """A post without visible text matches no text, nor one with nothing but its marker."""
    assert not is_similar([f"【{MARKER.code}】"], [""], MARKER)
    assert not is_similar(["阅读全文"], [""], MARKER)


@given(st.text(), st.text())
def test_matching_of_complete_texts_is_symmetric(one, other):
    """The match is the same in both directions."""
    assert is_similar([one], [other], MARKER) == is_similar([other], [one], MARKER)


@given(st.text("。.…⋯全文展开 a", max_size=300))
def test_cut_marks_are_compared_in_one_pass(text):
    """However often cut marks follow each other, they are compared in one pass."""
    assert is_similar([TEXT], [f"{TEXT[:9]}{text}…"], MARKER) in {True, False}


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_excerpt_of_sufficient_length_verifies_the_text(ending):
    """A post by hand is verified by as much of it as a list shows, not by a few words."""
    ours = (TITLE, "", WORDS * 3)
    assert matches_text(ours, WORDS * 2 + ending, MARKER)
    assert not matches_text(ours, WORDS[:10] + ending, MARKER)


def test_f90_a_long_text_of_a_platform_is_not_kept():
    """A platform's list may show megabytes; what is kept of its texts stays small."""
    before = verification._keep_compared_text.cache_info().currsize
    is_similar([WORDS], ["警惕" * MAX_KEPT_CHARACTERS], MARKER)
    after = verification._keep_compared_text.cache_info().currsize
    assert after - before <= 2
