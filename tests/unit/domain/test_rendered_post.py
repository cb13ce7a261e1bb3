"""Our own post is recognised, and another's is not taken for ours.

A fingerprint names one text only.
"""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.account import AccountId, Platform
from publisher.domain.post import (
    Marker,
    OccurrenceKey,
    PostId,
    RenderedImage,
    RenderedPost,
    RenderedRevision,
    derive_marker,
    fingerprint,
)
from publisher.store.db.tables import dump_rendered_post, load_rendered_post

KEY = OccurrenceKey(post=PostId("refund-scam"), occurrence="once")
MARKER = derive_marker(KEY, AccountId("beijing-weibo"))
OTHER = derive_marker(KEY, AccountId("shanghai-weibo"))
WORDS = "警惕“退款客服”诈骗：凡是要求共享屏幕、转账到安全账户的都是诈骗，请立即挂断并拨打96110。"
RENDITION = RenderedPost(
    account=AccountId("beijing-weibo"),
    platform=Platform("weibo"),
    marker=MARKER,
    title="警惕诈骗",
    text=f"【{MARKER.code}】{WORDS}",
    images=(
        RenderedImage(
            sha256="0" * 64, media_type="image/png", size=1, width=1, height=1, alt="…"
        ),
    ),
)

codes = st.builds(
    lambda post: derive_marker(
        OccurrenceKey(post=PostId(post), occurrence="once"), AccountId("a")
    ),
    st.text(),
)
prose = st.text(st.characters(categories=("Lo", "P", "Zs", "S")), max_size=40)
"""Text without Latin letters or digits, so that it cannot spell a marker by chance."""


def full_width(text: str) -> str:
    return "".join(
        chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text
    )


REWRITINGS = {
    "as sent": str,
    "lower case": str.lower,
    "full width": full_width,
    "no dash": lambda code: code.replace("-", ""),
    "long dash": lambda code: code.replace("-", "——"),
    "spaced": " ".join,
    "broken over lines": "\n".join,
    "zero width": "\u200b".join,
    "other brackets": lambda code: f"[{code}]",
}


@given(codes, prose, prose, st.sampled_from(sorted(REWRITINGS)))
def test_a_marker_survives_what_platforms_do_to_text(marker, before, after, how):
    """Case, width, spaces, dashes and brackets may change; the marker is still found."""
    assert marker.is_in(before + REWRITINGS[how](marker.code) + after)


@given(prose)
def test_a_marker_is_not_found_where_it_is_not(text):
    """Neither plain text nor another marker is taken for ours."""
    assert not MARKER.is_in(text)
    assert not MARKER.is_in(text + OTHER.code + text)
    assert not MARKER.is_in(MARKER.code[:-1])


@pytest.mark.long
def test_markers_are_steady_and_differ_between_deliveries():
    """A delivery always has the same marker.

    A hundred thousand other deliveries of an account have other markers.
    """
    assert derive_marker(KEY, AccountId("beijing-weibo")) == MARKER
    keys = [
        OccurrenceKey(post=PostId(f"post-{number}"), occurrence="once")
        for number in range(100_000)
    ]
    assert len({derive_marker(key, AccountId("a")).code for key in keys}) >= 99_999
    assert len(MARKER.code) == 9
    assert not set(MARKER.code) & set("01OI")


def test_label_and_account_are_part_of_the_marker():
    """Each instant of a repeating post, and each account, has a marker of its own."""
    tomorrow = replace(KEY, occurrence="2026-11-26T01:00:00+00:00")
    assert (
        len({MARKER, OTHER, derive_marker(tomorrow, AccountId("beijing-weibo"))}) == 3
    )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(value):
    """The same value spelled in another order has the same fingerprint."""
    turned = dict(reversed(list(value.items()))) if isinstance(value, dict) else value
    assert fingerprint(turned) == fingerprint(value)


def test_fingerprints_do_not_change_between_versions():
    """A text approved under an earlier version of the program is still known under this one."""
    spelled = {"b": [1, "警"], "a": None}
    assert (
        fingerprint(spelled)
        == "1441e8715af9e84d471453f6d592b72de5ec6af99aac27f27475c667a36058ad"
    )


def test_the_fingerprint_of_a_rendered_post_does_not_change_between_versions():
    """A later version still finds a rendered post by its fingerprint in a database."""
    assert (
        RENDITION.fingerprint
        == "6a6886ecbd87559b5498d068ecb1d5a59ea6b0c9e8bc634671db7b4b3b8876cb"
    )


def test_every_field_of_a_rendered_post_is_in_its_fingerprint():
    """No text, picture, link or account can change without a new approval."""
    changes = {
        "account": AccountId("other"),
        "platform": Platform("tieba"),
        "marker": OTHER,
        "title": "别的",
        "text": WORDS,
        "summary": "摘要",
        "link": "https://example.gov.cn/",
        "images": (replace(RENDITION.images[0], sha256="1" * 64),),
        "extra_parts": ("（接上层，2/2）〔K7QM-4R2T〕\n余下的话。",),
    }
    assert set(changes) == set(RenderedPost.__dataclass_fields__)
    changed = [
        replace(RENDITION, **{name: value}).fingerprint
        for name, value in changes.items()
    ]
    assert len({RENDITION.fingerprint, *changed}) == len(changes) + 1


@pytest.mark.parametrize("crop", ["", "0_0.1_1_0.9"])
def test_what_is_stored_can_be_checked_against_the_fingerprint(crop):
    """The hash of the stored JSON, with sorted keys, is the fingerprint, with a crop or without."""
    cropped = replace(RENDITION.images[0], crop_wide=crop)
    rendered = replace(RENDITION, images=(cropped,))
    stored = dump_rendered_post(rendered)
    assert load_rendered_post(stored) == rendered
    assert fingerprint(json.loads(stored)) == rendered.fingerprint


def test_a_revision_is_named_by_its_rendered_posts_in_any_order():
    """The name covers all rendered posts and the definition, and no order among accounts."""
    other = replace(
        RENDITION, account=AccountId("other"), marker=Marker(code="AAAA-BBBB")
    )
    revision = RenderedRevision(content_hash="1", rendered_posts=(RENDITION, other))
    assert replace(revision, rendered_posts=(other, RENDITION)).id == revision.id
    assert replace(revision, rendered_posts=(RENDITION,)).id != revision.id
    assert replace(revision, content_hash="2").id != revision.id
