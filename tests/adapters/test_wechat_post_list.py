"""Reading WeChat back: follow up a submission, find a post, delete it, probe the login."""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from adapters.wechat.api import WeChatArticle
from adapters.wechat.post_list import has_same_text
from publisher.domain.post import Baseline
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    Healthy,
    HoldReason,
    NotFound,
    PossibleMatch,
    Published,
    RateLimited,
    Receipt,
    Rejected,
    Submitted,
    Ticket,
    Unknown,
)
from tests.adapters.fakes_wechat import (
    LINK,
    NOW,
    SINCE,
    Tokens,
    WeChatScene,
    article,
    drafted,
    error,
    item,
    other,
    page,
    send_request,
)

TICKET = Ticket(payload=json.dumps({"name": "9", "delivery": 7, "polls": 1}))
RECEIPT = Receipt(
    remote_id="A1", url="http://mp.weixin.qq.com/s?mid=A1", published_at=NOW
)
OLD = NOW - timedelta(days=1)


@pytest.fixture
def scene():
    made = WeChatScene()
    made.works()
    return made


def _article_state(**changes):
    return {
        "news_item": item("", **changes)["content"]["news_item"],
        "update_time": 1764000000,
    }


async def test_a_submission_that_is_published(scene):
    """Status 0 is a receipt with the article's id and address."""
    scene.answers(
        "freepublish/get",
        {
            "publish_id": "9",
            "publish_status": 0,
            "article_id": "A1",
            "article_detail": {
                "count": 1,
                "item": [{"idx": 1, "article_url": RECEIPT.url}],
            },
        },
    )
    assert await scene.adapter.check_ticket(TICKET) == Published(receipt=RECEIPT)
    assert scene.bodies("freepublish/get") == [{"publish_id": "9"}]


async def test_a_submission_in_progress_is_read_with_growing_pauses(scene):
    """F47: status 1 stays submitted, and the pauses grow: the platform allows few such reads."""
    scene.answers(
        "freepublish/get", {"publish_id": "9", "publish_status": 1, "fail_idx": []}
    )
    ticket, pauses = TICKET, []
    for _ in range(5):
        finding = await scene.adapter.check_ticket(ticket)
        assert isinstance(finding, Submitted)
        pauses.append(finding.check_again_at - NOW)
        ticket = finding.ticket
    assert json.loads(ticket.payload) == {"name": "9", "delivery": 7, "polls": 6}
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(minutes=30)


@pytest.mark.parametrize("status", [2, 3, 4])
async def test_a_submission_that_was_rejected(scene, status):
    """F46: a failed check or review is a rejection."""
    scene.answers(
        "freepublish/get",
        {"publish_id": "9", "publish_status": status, "fail_idx": [1]},
    )
    assert await scene.adapter.check_ticket(TICKET) == Rejected(
        code=f"wechat_refused_{status}", reason="9"
    )


@pytest.mark.parametrize("status", [5, 6])
async def test_a_submission_that_was_deleted(scene, status):
    """F48: a published article that is deleted or banned is gone."""
    scene.answers("freepublish/get", {"publish_id": "9", "publish_status": status})
    assert await scene.adapter.check_ticket(TICKET) == Deleted()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(53502), "wechat_53502"),
        (error(45009), "wechat_45009"),
        (error(40164), "wechat_40164"),
        ({"publish_id": "9", "publish_status": 7}, "wechat_unknown_status"),
        ({"publish_id": "9", "publish_status": 0}, "wechat_incomplete"),
        (httpx.Response(502), "server_error"),
    ],
)
async def test_a_submission_that_cannot_be_read(scene, answer, reason):
    """F52: an error or an unknown status decides nothing."""
    scene.answers("freepublish/get", answer)
    assert await scene.adapter.check_ticket(TICKET) == Unknown(reason=reason)


@pytest.mark.parametrize(
    "number", ["", "[]", "{}", '{"name":"9","delivery":7,"polls":"x"}']
)
async def test_a_ticket_that_is_not_ours(scene, number):
    """A ticket that cannot be read is Unknown, not an error, and no call is made."""
    assert await scene.adapter.check_ticket(Ticket(payload=number)) == Unknown(
        reason="wechat_bad_ticket"
    )
    assert not scene.router.calls


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "改写过的标题", "digest": ""},
        {"content_source_url": "", "digest": "编号 k7qm4r2t"},
        {"content_source_url": "", "title": "【K7QM－4R2T】退款"},
    ],
)
async def test_our_post_is_known_by_its_marker(scene, changes):
    """F24 F54: the marker in link, digest or title is enough, however the rest was rewritten."""
    scene.answers("freepublish/batchget", page(other("A2"), item("A1", **changes)))
    assert await scene.adapter.find_post(send_request()) == Published(receipt=RECEIPT)


async def test_our_post_on_a_later_page(scene):
    """F53: a post pushed off the first page is found behind it."""
    first = [other(f"B{number}") for number in range(20)]
    scene.answers(
        "freepublish/batchget", page(*first, total=21), page(item("A1"), total=21)
    )
    assert await scene.adapter.find_post(send_request()) == Published(receipt=RECEIPT)
    assert [body["offset"] for body in scene.bodies("freepublish/batchget")] == [0, 20]


async def test_a_post_of_another_delivery_is_not_adopted(scene):
    """F55: an id of another delivery is no match, neither by marker nor by similarity."""
    scene.answers("freepublish/batchget", page(item("A1")))
    assert await scene.adapter.find_post(
        send_request(owned_ids=frozenset({"A1"}))
    ) == NotFound(covered_since=SINCE, can_resend=False)


@pytest.mark.parametrize("changes", [{}, {"is_deleted": True}])
async def test_the_marker_on_an_older_article_goes_to_a_person(scene, changes):
    """F55: an article from before the attempt goes to a person although it has the marker.

    It cannot be this attempt's.
    """
    scene.answers("freepublish/batchget", page(item("A1", at=OLD, **changes)))
    assert await scene.adapter.find_post(send_request()) == PossibleMatch(
        remote_id="A1", url=RECEIPT.url
    )


async def test_our_post_was_deleted(scene):
    """F48: a deleted article that carries the marker is gone.

    A published one beside it takes precedence.
    """
    scene.answers(
        "freepublish/batchget",
        page(item("A0", is_deleted=True)),
        page(item("A0", is_deleted=True), item("A1")),
    )
    assert await scene.adapter.find_post(send_request()) == Deleted()
    assert await scene.adapter.find_post(send_request()) == Published(receipt=RECEIPT)


async def test_the_same_text_without_marker(scene):
    """F56: the same text newer than the attempt leads to a person, never to adoption."""
    scene.answers("freepublish/batchget", page(item("A1", content_source_url="")))
    assert await scene.adapter.find_post(send_request()) == PossibleMatch(
        remote_id="A1", url=RECEIPT.url
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "警惕“退款…", "digest": ""},
        {"title": "警惕“退款…", "digest": "冒充客服…"},
        {"digest": "冒充客服退款的骗…全文"},
        {"digest": ""},
    ],
)
async def test_a_shortened_article_goes_to_a_person_f54(scene, changes):
    """F54: a list that cuts title or digest and has lost the link shows no absence."""
    scene.answers(
        "freepublish/batchget",
        page(item("A1", **{"content_source_url": "", **changes})),
    )
    assert await scene.adapter.find_post(send_request()) == PossibleMatch(
        remote_id="A1", url=RECEIPT.url
    )


async def test_a_digest_that_wechat_made_itself_is_compared_with_the_text_f54(scene):
    """F54: without a summary of ours WeChat shows the first words of the content."""
    scene.answers(
        "freepublish/batchget",
        page(item("A1", content_source_url="", digest="客服请勿转账给任何…")),
    )
    bare = article(
        summary="", text="<section>客服：请勿转账给任何人，不透露验证码。</section>"
    )
    assert await scene.adapter.find_post(send_request(rendered=bare)) == PossibleMatch(
        remote_id="A1", url=RECEIPT.url
    )


@pytest.mark.parametrize(
    "changes",
    [{"title": "警惕“退款…", "digest": "一周要闻"}, {"title": "警惕", "digest": ""}],
)
async def test_a_common_beginning_is_no_match_f55(scene, changes):
    """F55: an article that goes on differently, or says too little, is no match."""
    scene.answers(
        "freepublish/batchget",
        page(item("A1", **{"content_source_url": "", **changes})),
    )
    assert await scene.adapter.find_post(send_request()) == NotFound(
        covered_since=SINCE, can_resend=False
    )


async def test_a_list_that_shows_articles_twice_f53(scene):
    """F53: our article is found once in a list that repeats its items.

    The repetition by itself proves neither an absence nor a deletion.
    """
    scene.answers("freepublish/batchget", page(item("A1"), item("A1"), total=2))
    assert await scene.adapter.find_post(send_request()) == Published(receipt=RECEIPT)
    scene.answers(
        "freepublish/batchget", page(*[item("A1", is_deleted=True)] * 2, total=2)
    )
    assert await scene.adapter.find_post(send_request()) == Unknown(
        reason="wechat_list_incomplete"
    )


async def test_the_same_text_earlier(scene):
    """F55: the same text from before the attempt is no match."""
    scene.answers(
        "freepublish/batchget", page(item("A1", at=OLD, content_source_url=""))
    )
    assert await scene.adapter.find_post(send_request()) == NotFound(
        covered_since=SINCE, can_resend=False
    )


async def test_a_draft_that_still_exists_was_not_submitted(scene):
    """F25: a draft still in the box was not submitted.

    With the list read whole, this is an absence that reaches back to the baseline.
    """
    scene.state.values["draft:7"] = drafted("DRAFT")
    assert await scene.adapter.find_post(send_request()) == NotFound(
        covered_since=SINCE, can_resend=False
    )
    assert scene.bodies("draft/get") == [{"media_id": "DRAFT"}]


async def test_a_draft_of_an_earlier_order_proves_nothing_for_the_present_one_f24(
    scene,
):
    """F24: before an order has its own draft nothing was submitted for it.

    Afterwards that draft is checked.
    """
    scene.state.values["draft:7"] = drafted("OLD")
    ordered = send_request(attempt=3, resend_after_attempt=2)
    assert await scene.adapter.find_post(ordered) == NotFound(
        covered_since=SINCE, can_resend=False
    )
    assert not scene.asked("draft/get")
    scene.state.values["draft:7"] = drafted("NEW", ordered_after=2)
    scene.answers("draft/get", error(40007))
    assert await scene.adapter.find_post(ordered) == Unknown(
        reason="wechat_draft_consumed"
    )
    assert scene.bodies("draft/get") == [{"media_id": "NEW"}]


async def test_a_draft_that_is_gone_is_no_absence(scene):
    """F24 F51: a consumed draft that is in no list yet stays unknown."""
    scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers("draft/get", error(40007))
    assert await scene.adapter.find_post(send_request()) == Unknown(
        reason="wechat_draft_consumed"
    )


async def test_an_unreadable_draft_is_no_absence(scene):
    """F52: where the draft cannot be read, nothing is proven."""
    scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers("draft/get", httpx.Response(502))
    assert await scene.adapter.find_post(send_request()) == Unknown(
        reason="server_error"
    )


async def test_without_a_draft_nothing_was_submitted(scene):
    """F02: a draft is recorded before it is submitted.

    No recorded draft and no published article is an absence.
    """
    assert await scene.adapter.find_post(send_request()) == NotFound(
        covered_since=SINCE, can_resend=False
    )
    assert not scene.asked("draft/get")


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([httpx.Response(502)], "server_error"),
        ([error(45009)], "wechat_45009"),
        ([error(48001)], "wechat_48001"),
        ([page(other("B1"), total=3), page(total=3)], "wechat_list_incomplete"),
        ([page(other("B1"), other("B1"), total=2)], "wechat_list_incomplete"),
        (
            [
                page(*(other(f"B{n}") for n in range(20)), total=21),
                page(other("B20"), other("B21"), total=22),
            ],
            "wechat_list_incomplete",
        ),
        ([{"item": []}], "wechat_incomplete"),
    ],
)  # fmt: skip
async def test_a_list_that_proves_nothing(scene, answers, reason):
    """F52 F53: an error, a cut list, or one that moved between its pages is never an absence."""
    scene.answers("freepublish/batchget", *answers)
    assert await scene.adapter.find_post(send_request()) == Unknown(reason=reason)


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("freepublish/batchget", lambda adapter: adapter.find_post(send_request())),
        ("freepublish/batchget", lambda adapter: adapter.list_recent()),
        ("draft/get", lambda adapter: adapter.find_post(send_request())),
        ("freepublish/get", lambda adapter: adapter.check_ticket(TICKET)),
        ("freepublish/delete", lambda adapter: adapter.retract(RECEIPT)),
        ("freepublish/getarticle", lambda adapter: adapter.retract(RECEIPT)),
        ("stable_token", lambda adapter: adapter.check_health()),
    ],
)
async def test_a_limit_that_a_read_meets_is_reported_f26(scene, path, read):
    """F26: a 429 met by one call applies to every call of the login.

    It is reported with its end.
    """
    scene.state.values["draft:7"] = drafted("DRAFT")
    scene.answers("freepublish/delete", error(0))
    scene.answers(path, httpx.Response(429, headers={"retry-after": "90"}))
    assert await read(scene.adapter) == RateLimited(
        code="wechat_http_429", until=NOW + timedelta(seconds=90)
    )
    assert len(scene.asked(path)) == 1


async def test_an_empty_list_where_there_should_be_one(scene):
    """F52: an account known to have published has no empty list."""
    known = send_request(baseline=Baseline(newest_id="A0", taken_at=SINCE))
    assert await scene.adapter.find_post(known) == Unknown(
        reason="wechat_list_incomplete"
    )
    scene.answers("freepublish/batchget", page(other("A0", at=OLD)))
    assert await scene.adapter.find_post(known) == NotFound(
        covered_since=SINCE, can_resend=False
    )


def _pages(stamps):
    rows = [other(f"B{number}", at=at) for number, at in enumerate(stamps)]
    return [
        page(*rows[start : start + 20], total=len(rows))
        for start in range(0, len(rows), 20)
    ]


async def test_a_long_list_is_read_back_past_the_baseline(scene):
    """F53: in falling order, three pages and one wholly before the baseline suffice.

    The oldest item of the read gives its reach.
    """
    stamps = [OLD - timedelta(hours=number) for number in range(200)]
    scene.answers("freepublish/batchget", *_pages(stamps))
    assert await scene.adapter.find_post(send_request()) == NotFound(
        covered_since=stamps[59], can_resend=False
    )
    assert len(scene.asked("freepublish/batchget")) == 3


async def test_a_long_list_that_moves_proves_nothing(scene):
    """F53: where the list grew or shrank between two pages, an article may have slipped through."""
    stamps = [OLD - timedelta(hours=number) for number in range(100)]
    first, *rest = _pages(stamps)
    scene.answers("freepublish/batchget", {**first, "total_count": 101}, *rest)
    assert await scene.adapter.find_post(send_request()) == Unknown(
        reason="wechat_list_incomplete"
    )


async def test_a_list_out_of_order_is_read_whole(scene):
    """F53: if the order is not falling, only the whole list proves an absence."""
    stamps = [OLD + timedelta(minutes=number) for number in range(100)]
    scene.answers("freepublish/batchget", *_pages(stamps))
    assert await scene.adapter.find_post(send_request()) == NotFound(
        covered_since=SINCE, can_resend=False
    )
    assert len(scene.asked("freepublish/batchget")) == 5


async def test_a_list_without_end(scene):
    """F36: an endless list is given up, and proves nothing."""
    stamps = [OLD + timedelta(minutes=number) for number in range(600)]
    scene.answers("freepublish/batchget", *_pages(stamps))
    assert await scene.adapter.find_post(send_request()) == Unknown(
        reason="wechat_list_too_long"
    )
    assert len(scene.asked("freepublish/batchget")) == 25


async def test_a_deletion_is_confirmed(scene):
    """A deleted article is gone when WeChat no longer knows it."""
    scene.answers("freepublish/getarticle", error(53600))
    scene.answers("freepublish/delete", error(0))
    assert await scene.adapter.retract(RECEIPT) == Deleted()
    assert scene.bodies("freepublish/delete") == [{"article_id": "A1", "index": 0}]


async def test_a_deletion_that_is_marked(scene):
    """An article with every part marked as deleted is gone once a deletion was requested.

    Before that, it is not gone.
    """
    scene.answers("freepublish/getarticle", _article_state(is_deleted=True))
    scene.answers("freepublish/delete", error(53600))
    assert await scene.adapter.retract(RECEIPT) == Deleted()
    assert len(scene.asked("freepublish/delete")) == 1


@pytest.mark.parametrize("stray", [_article_state(is_deleted=True), error(53600)])
async def test_a_stray_read_skips_no_deletion_of_an_article_f48_f78(scene, stray):
    """F48, F78: one read that calls a published article gone skips no deletion.

    It neither ends the retraction nor skips the deletion.
    """
    scene.answers("freepublish/getarticle", stray, _article_state())
    scene.answers("freepublish/delete", error(45009))
    assert await scene.adapter.retract(RECEIPT) == Unknown(reason="wechat_45009")
    assert len(scene.asked("freepublish/delete")) == 1


async def test_a_deletion_that_finds_no_article_is_read_after_f78(scene):
    """F78: "no such article" as the answer to a deletion is no proof by itself.

    It ends nothing while the article can be read.
    """
    scene.answers("freepublish/getarticle", _article_state())
    scene.answers("freepublish/delete", error(53600))
    assert await scene.adapter.retract(RECEIPT) == Unknown(
        reason="wechat_deletion_unconfirmed"
    )


async def test_a_deletion_without_effect(scene):
    """F78: an article that can still be read after the deletion is not gone."""
    scene.answers("freepublish/getarticle", _article_state())
    scene.answers("freepublish/delete", error(0))
    assert await scene.adapter.retract(RECEIPT) == Unknown(
        reason="wechat_deletion_unconfirmed"
    )


@pytest.mark.parametrize(
    ("answer", "removal"),
    [
        (error(40035), Rejected(code="wechat_40035", reason="said the platform")),
        (error(45009), Unknown(reason="wechat_45009")),
        (error(48001), Unknown(reason="wechat_48001")),
        (httpx.Response(502), Unknown(reason="server_error")),
    ],
)
async def test_a_deletion_that_fails(scene, answer, removal):
    """F78: a refused or lost deletion is reported as such, and may be repeated."""
    scene.answers("freepublish/getarticle", _article_state())
    scene.answers("freepublish/delete", answer)
    assert await scene.adapter.retract(RECEIPT) == removal


async def test_an_id_from_a_person_proves_nothing(scene):
    """An id that only a person gave, unknown to WeChat, does not prove that the article is gone."""
    scene.answers("freepublish/getarticle", error(53600))
    scene.answers("freepublish/delete", error(53600))
    by_word = Receipt(
        remote_id="A1", url=LINK, published_at=NOW, is_manually_confirmed=True
    )
    assert await scene.adapter.retract(by_word) == Unknown(reason="wechat_53600")


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        ({"access_token": "T9", "expires_in": 7200}, Healthy()),
        (error(40001), CredentialExpired(reason="wechat_40001")),
        (error(40125), CredentialExpired(reason="wechat_40125")),
        (
            error(40164, "invalid ip 203.0.113.9, not in whitelist"),
            Blocked(
                code="wechat_40164",
                reason="invalid ip 203.0.113.9, not in whitelist",
            ),
        ),
        (error(-1), Unknown(reason="wechat_-1")),
        (httpx.Response(502), Unknown(reason="server_error")),
    ],
)
async def test_probe(scene, answer, health):
    """F43 F50: a probe asks WeChat itself, even while a token is valid.

    It does not replace that token.
    """
    scene.answers("stable_token", answer)
    assert await scene.adapter.check_health() == health
    assert scene.tokens == Tokens("T1")


async def test_probe_of_another_app(scene):
    """F38: the health check already reports credentials of another account."""
    scene.secret = {"app_id": "wx9", "app_secret": "x"}
    health = await scene.adapter.check_health()
    assert isinstance(health, Blocked)
    assert health.hold_reason is HoldReason.WRONG_SECRET


async def test_publication_times_are_the_platforms(scene):
    """The publication time of a found post is that of its item in the list."""
    at = datetime(2026, 11, 25, 0, 59, tzinfo=UTC)
    scene.answers("freepublish/batchget", page(item("A1", at=at)))
    finding = await scene.adapter.find_post(send_request())
    assert isinstance(finding, Published)
    assert finding.receipt.published_at == at


@pytest.mark.parametrize("piece", ["<", '<"', "<'a\"", "<a "])
def test_a_hostile_draft_is_compared_in_linear_time(piece):
    """A draft of a megabyte of half tags stops no daemon."""
    hostile = WeChatArticle(
        id="m",
        title=piece * 300_000,
        digest="",
        link="",
        url="",
        is_deleted=False,
        updated_at=NOW,
    )
    assert not has_same_text(hostile, send_request().rendered)
