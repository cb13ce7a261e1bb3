"""The proof that a list of the account's posts gives about our post.

It shows our post, a look-alike, its absence, or nothing.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.post import Baseline, Marker
from publisher.domain.post_list import (
    ListedPost,
    MatchCriteria,
    covers_baseline,
    is_newest_first,
    match_list,
)
from publisher.domain.results import Deleted, NotFound, PossibleMatch, Published

CALL = datetime(2026, 11, 24, 4, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
MARKER = Marker(code="K7QM-4R2T")
BODY = "请勿转账，不要透露验证码，有疑问拨打110咨询。"
MARKED = f"{BODY}〔{MARKER.code}〕"
BASELINE = Baseline(newest_id="100", taken_at=CALL)
CRITERIA = MatchCriteria(
    marker=MARKER, baseline=BASELINE, title="警惕退款诈骗", text=BODY
)


def post(number: int, at: datetime = CALL + MINUTE, **facts) -> ListedPost:
    return ListedPost(
        remote_id=str(number), url=f"https://x.example/{number}", created_at=at, **facts
    )


OLD = post(100, CALL - MINUTE, text="昨天的消息")


def found(
    *posts: ListedPost, criteria: MatchCriteria = CRITERIA, is_covered: bool = True
):
    return match_list(posts, criteria, is_covered=is_covered)


def test_our_marker_is_found_wherever_the_platform_keeps_it():
    """In title, text, link or annotation; only title and text show that these are our words."""
    for facts, is_text_confirmed in (
        ({"title": MARKED}, True),
        ({"text": "ｋ７ｑｍ ４ｒ２ｔ"}, True),
        ({"other_texts": (f"https://x.example/{MARKER.code}",)}, False),
    ):
        ours = found(post(101, **facts), OLD, is_covered=False)
        assert isinstance(ours, Published)
        assert (ours.receipt.remote_id, ours.is_text_confirmed) == (
            "101",
            is_text_confirmed,
        )
        assert (ours.receipt.url, ours.receipt.published_at) == (
            "https://x.example/101",
            CALL + MINUTE,
        )


def test_the_oldest_of_several_is_ours():
    """The oldest post by id is ours where ids ascend, else the oldest by time.

    Of equal times it is the one listed last, as lists are newest first.
    """
    pair = (post(103, text=MARKED), post(102, text=MARKED))
    assert found(*pair).receipt.remote_id == "102"
    assert (
        found(post(101, CALL + 2 * MINUTE, text=MARKED), *pair).receipt.remote_id
        == "102"
    )
    ascending = replace(CRITERIA, are_ids_ascending=True)
    assert (
        found(
            post(101, CALL + 2 * MINUTE, text=MARKED), *pair, criteria=ascending
        ).receipt.remote_id
        == "101"
    )


def test_what_was_there_before_the_call_is_not_ours():
    """A post from before the call is not ours by the baseline's id, by time or by a lower id.

    The time has a second's tolerance. A person decides about such a post.
    """
    cases = [post(100, text=MARKED), post(99, CALL - 2 * SECOND, text=MARKED)]
    for known in cases:
        assert found(known) == PossibleMatch(remote_id=known.remote_id, url=known.url)
    ascending = replace(CRITERIA, are_ids_ascending=True)
    assert isinstance(found(post(99, text=MARKED), criteria=ascending), PossibleMatch)
    assert isinstance(found(post(101, CALL - SECOND / 2, text=MARKED)), Published)


def test_a_post_of_another_delivery_is_never_taken():
    """Neither as ours nor as similar: it is as if it were not listed."""
    owned = replace(CRITERIA, owned_ids=frozenset({"101"}))
    assert found(post(101, text=MARKED), OLD, criteria=owned) == NotFound(
        covered_since=CALL
    )
    assert found(post(101, title=CRITERIA.title), OLD, criteria=owned) == NotFound(
        covered_since=CALL
    )


@pytest.mark.parametrize("spoilt", ["\ud83d", "\0"], ids=ascii)
def test_f31_f52_a_list_with_a_damaged_id_is_no_absence(spoilt):
    """F31, F52: a damaged reply proves no absence, as it may lack a post.

    Half an emoji in a text is no damage.
    """
    assert found(replace(post(101, text="别的"), remote_id=f"101{spoilt}"), OLD) is None
    assert found(post(101, text=f"别的{spoilt}"), OLD) == NotFound(covered_since=CALL)


@pytest.mark.parametrize(
    "facts",
    [
        {"text": BODY},
        {"text": f"{BODY[:12]}…"},
        {"title": "警惕退款诈骗", "text": "别的"},
    ],
)
def test_a_lookalike_goes_to_a_person(facts):
    """Our words without our marker, or our title, are never ours and never absence.

    The words may be whole or cut.
    """
    alike = post(101, **facts)
    assert found(alike, OLD) == PossibleMatch(remote_id="101", url=alike.url)
    assert found(replace(alike, created_at=CALL - MINUTE), OLD) == NotFound(
        covered_since=CALL
    )
    assert found(replace(alike, is_deleted=True), OLD) == NotFound(covered_since=CALL)
    assert found(alike, OLD, criteria=replace(CRITERIA, text=None)) == NotFound(
        covered_since=CALL
    )


def test_our_text_under_another_title_is_not_absence():
    """Somebody may have changed the title, and taken out the marker."""
    assert found(post(101, title="别的", text=BODY), OLD) == PossibleMatch(
        remote_id="101", url="https://x.example/101"
    )


def test_posts_without_titles_are_not_alike_for_that():
    """Where the platform has no titles, neither an empty title nor other words are alike."""
    criteria = replace(CRITERIA, title=None)
    assert found(post(101, text="完全不同的内容"), OLD, criteria=criteria) == NotFound(
        covered_since=CALL
    )


def test_a_known_post_that_was_changed_since_may_have_become_ours():
    """The baseline's newest post is compared again if the list has only times of change.

    Such a time is the time of the last change.
    """
    assert isinstance(found(post(100, text=BODY)), PossibleMatch)
    ascending = replace(CRITERIA, are_ids_ascending=True)
    assert found(post(100, text=BODY), criteria=ascending) == NotFound(
        covered_since=CALL
    )


def test_a_deleted_post_of_ours_takes_a_complete_list():
    """A visible post counts before a deleted one; a deleted one counts by a complete list.

    A list that may leave such a post out proves nothing.
    """
    gone = post(101, text=MARKED, is_deleted=True)
    assert found(gone, OLD) == Deleted()
    assert found(gone, OLD, is_covered=False) is None
    assert found(post(102, text=MARKED), gone).receipt.remote_id == "102"


def test_absence_takes_a_list_that_reaches_back():
    """Without that, and in an empty list, nothing is certain."""
    assert found(OLD) == NotFound(covered_since=CALL)
    assert found(OLD, is_covered=False) is None
    assert found(is_covered=False) is None


def covered(*posts: ListedPost, **facts) -> bool:
    return covers_baseline(posts, BASELINE, **{"is_complete": False, **facts})


def test_a_list_covers_what_is_newer_than_its_end():
    """A list covers all posts back to one from before the call, newest first.

    A complete list by the platform's own statement covers all as well.
    """
    new = post(101)
    assert covered(new, OLD)
    assert not covered(new)
    assert covered(new, is_complete=True)
    assert not covered()
    assert not covered(is_complete=True)


def test_a_list_out_of_order_covers_nothing():
    """A list out of order covers nothing, as other posts may be missing.

    It has a rising time, a rising id where ids fall, or a post twice.
    """
    later = post(102, CALL + 2 * MINUTE)
    for is_complete in (False, True):
        assert not covered(post(101), later, OLD, is_complete=is_complete)
        assert not covered(later, later, OLD, is_complete=is_complete)
        assert not covered(
            post(101), post(103), OLD, is_complete=is_complete, are_ids_ascending=True
        )
        assert covered(post(101), post(103), OLD, is_complete=is_complete)


def test_a_pinned_post_on_top_proves_nothing_about_the_others():
    """It may be old, or repeated below; alone it is no end of a list."""
    pinned = post(50, CALL - 50 * MINUTE)
    assert covered(pinned, post(101), OLD, may_begin_with_pinned=True)
    assert covered(OLD, post(101), OLD, may_begin_with_pinned=True)
    assert not covered(pinned, post(101), may_begin_with_pinned=True)
    assert not covered(pinned, may_begin_with_pinned=True)
    assert covered(pinned, is_complete=True, may_begin_with_pinned=True)


POSTS = st.lists(
    st.builds(
        post,
        st.integers(95, 110),
        st.integers(-300, 300).map(lambda seconds: CALL + timedelta(seconds=seconds)),
        title=st.sampled_from(["", "警惕退款诈骗", "别的"]),
        text=st.sampled_from(["", BODY, MARKED, "无关的话，长短不一的另一段文字"]),
        is_deleted=st.booleans(),
    ),
    max_size=6,
)


@given(
    POSTS,
    st.frozensets(st.integers(95, 110).map(str), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_nothing_is_adopted_or_missed_in_any_list(
    posts, owned_ids, are_ids_ascending, is_complete
):
    """In every list our post is new, free and marked.

    Absence means that no free new post has our marker or words.
    """
    criteria = replace(
        CRITERIA, owned_ids=owned_ids, are_ids_ascending=are_ids_ascending
    )
    is_covered = covers_baseline(
        posts, BASELINE, is_complete=is_complete, are_ids_ascending=are_ids_ascending
    )
    result = match_list(posts, criteria, is_covered=is_covered)
    candidates = [
        item
        for item in posts
        if item.remote_id not in owned_ids and not criteria.is_before(item)
    ]
    marked = [item for item in candidates if MARKER.is_in(item.text)]
    if isinstance(result, Published):
        assert result.receipt.remote_id in {
            item.remote_id for item in marked if not item.is_deleted
        }
    elif isinstance(result, NotFound):
        assert is_covered
        assert is_newest_first(posts, are_ids_ascending=are_ids_ascending)
        assert not marked
        assert not [
            item for item in candidates if BODY in item.text and not item.is_deleted
        ]
    elif isinstance(result, Deleted):
        assert is_covered
        assert marked
        assert all(item.is_deleted for item in marked)
