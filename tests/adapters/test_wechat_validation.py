"""The rejections before approval, their texts, and the platform's declared limits."""

from datetime import date, timedelta

import pytest

from adapters.wechat import WECHAT
from adapters.wechat.capabilities import CAPABILITIES
from adapters.wechat.codes import CODES
from adapters.wechat.mass_send import MASS_FAILURE_CODES
from publisher.domain.errors import Severity
from publisher.i18n import Messages, load_catalogue
from tests.adapters.fakes_wechat import COVER, INSIDE, WeChatScene, article, picture

OWN_WORDS = [
    "wechat_draft_consumed",
    "wechat_draft_changed",
    "wechat_image_missing",
    "wechat_other_app",
    "wechat_token_contested",
    "wechat_token_renewed_elsewhere",
    "wechat_no_secret",
    "wechat_no_token",
    "wechat_bad_ticket",
    "wechat_unknown_status",
    "wechat_deletion_unconfirmed",
    "wechat_refused_2",
    "wechat_refused_3",
    "wechat_refused_4",
    "wechat_mass_failed",
    "wechat_profile_unknown",
    "wechat_tag_invalid",
    "wechat_style_lost",
    "wechat_http_429",
    "wechat_http_error",
    "wechat_unreadable",
    "wechat_incomplete",
    "wechat_list_incomplete",
    "wechat_list_too_long",
]


def _codes(rendered):
    return [
        problem.code
        for problem in WECHAT.validate(WeChatScene().adapter.account, rendered)
    ]


def test_a_valid_article_passes():
    """An article within all limits has no problem."""
    assert _codes(article()) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"title": " "}, "wechat_title_missing"),
        ({"title": "题" * 65}, "wechat_title_too_long"),
        ({"summary": "要" * 121}, "wechat_summary_too_long"),
        ({"text": ""}, "wechat_content_missing"),
        ({"text": "字" * 20_000}, "wechat_content_too_long"),
        ({"text": "𠮷" * 10 + "x" * 19_990}, "wechat_content_too_long"),
        (
            {"link": "https://example.gov.cn/K7QM-4R2T/" + "x" * 1000},
            "wechat_link_too_long",
        ),
        ({"link": None}, "wechat_marker_missing"),
        ({"text": "<p onclick='x'>a</p>"}, "wechat_forbidden_tag"),
        ({"text": "<p>a</p><script>b</script>"}, "wechat_forbidden_tag"),
        ({"text": '<a href="https://example.gov.cn">a</a>'}, "wechat_foreign_link"),
        ({"text": '<a href="#top">a</a>'}, "wechat_foreign_link"),
        (
            {"text": '<a href="https://mp.weixin.qq.com.evil.cn/s">a</a>'},
            "wechat_foreign_link",
        ),
        ({"text": '<a href="http://[bad">a</a>'}, "wechat_foreign_link"),
        (
            {"text": '<p>a</p><img src="https://example.gov.cn/a.png">'},
            "wechat_foreign_image",
        ),
        ({"text": "<p>a</p><img src='media:%s'>" % ("a" * 64)}, "wechat_foreign_image"),
        ({"text": '<p>a</p><img src="media:%s">' % ("a" * 64)}, "wechat_image_unknown"),
        ({"images": (), "text": "<p>a</p>"}, "wechat_cover_missing"),
        (
            {"images": (picture(COVER, media_type="image/webp"), picture(INSIDE))},
            "wechat_cover_type",
        ),
        (
            {"images": (picture(COVER, size=10_000_001), picture(INSIDE))},
            "wechat_cover_too_large",
        ),
        (
            {"images": (picture(COVER), picture(INSIDE, media_type="image/gif"))},
            "wechat_image_type",
        ),
        (
            {"images": (picture(COVER), picture(INSIDE, size=1_000_001))},
            "wechat_image_too_large",
        ),
        (
            {"images": (picture(COVER),) * 10 + (picture(INSIDE),)},
            "wechat_too_many_images",
        ),
    ],
)
def test_each_limit(changes, code):
    """F76: a text that WeChat would reject or drop has exactly one problem, with a text."""
    [problem] = WECHAT.validate(WeChatScene().adapter.account, article(**changes))
    assert problem.code == code
    assert problem.is_error
    for lang in ("zh_CN", "en"):
        text = Messages(lang).format_problem(problem)
        assert code not in text
        assert "{" not in text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('<p class="a" id="b">a</p>', ["class", "id"]),
        ('<p style="color:red;POSITION : absolute">a</p>', ["position"]),
        (
            '<p style="font-family:serif;font-size:17px">a</p><p style="font-family:serif">b</p>',
            ["font-family"],
        ),
        ('<p style="color:red">a</p><p style>b</p>', []),
    ],
)
def test_layout_that_wechat_drops_is_a_warning(text, names):
    """Layout that WeChat would silently drop is reported before any approval, each thing once."""
    problems = WECHAT.validate(WeChatScene().adapter.account, article(text=text))
    assert [problem.facts["name"] for problem in problems] == names
    assert all(
        problem.code == "wechat_style_lost" and not problem.is_error
        for problem in problems
    )


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://mp.weixin.qq.com/s?mid=1">a</a>',
        '<p>a</p><img src="http://mmbiz.qpic.cn/a">',
    ],
)
def test_links_to_content_of_wechat_are_accepted(text):
    """Links to articles and pictures that WeChat already holds are accepted."""
    assert _codes(article(text=text)) == []


def test_a_title_between_the_two_limits_is_a_warning():
    """The sources disagree on 32 or 64: between them an article has a warning, not an error."""
    for length, codes in (
        (32, []),
        (33, ["wechat_title_long"]),
        (64, ["wechat_title_long"]),
    ):
        problems = WECHAT.validate(
            WeChatScene().adapter.account, article(title="题" * length)
        )
        assert [problem.code for problem in problems] == codes
        assert all(problem.severity is Severity.WARNING for problem in problems)


def test_the_addresses_count():
    """Room is kept for the addresses that will replace the pictures' hashes."""
    image = f'<img src="media:{picture(INSIDE).sha256}">'
    assert _codes(article(text="字" * (19_999 - len(image)) + image)) == [
        "wechat_content_too_long"
    ]


def test_characters_bound_the_bytes():
    """No article within the limit of characters can exceed the limit of bytes.

    The limit of bytes needs no check.
    """
    assert CAPABILITIES.count_text("𠮷" * 19_999) <= CAPABILITIES.text_limit
    assert len(("𠮷" * 19_999).encode()) < 1_000_000


@pytest.mark.parametrize(
    "code",
    [
        *(f"wechat_{code}" for code in CODES),
        *(f"wechat_mass_{number}" for number in sorted(MASS_FAILURE_CODES)),
        *OWN_WORDS,
    ],
)
def test_each_code_has_a_text(code):
    """Every code of the adapter is in the catalogue, in both languages, with a hint."""
    entry = load_catalogue()[code]
    assert entry["zh_CN"]
    assert entry["en"]
    assert entry["hint"]["zh_CN"]
    assert entry["hint"]["en"]


def test_each_code_has_a_source():
    """Each line of the table names its source and the day of its reading."""
    for meaning in CODES.values():
        assert meaning.source
        assert date.fromisoformat(meaning.read_on)


def test_the_defaults_fit_together():
    """A call ends before its lease, and the lease before the visibility window.

    The window covers all delays.
    """
    patience, quota = WECHAT.defaults.timing, WECHAT.defaults.rate_limit
    assert patience.has_valid_order
    assert (
        patience.visibility_window
        == CAPABILITIES.server_delay + CAPABILITIES.listing_lag + timedelta(minutes=2)
    )
    assert quota.per_day < 100
