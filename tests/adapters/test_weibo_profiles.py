"""The calls of each profile of a Weibo login.

The tests also cover its number of pictures, and the demands it does not make.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote

import httpx
import pytest

from adapters.weibo import WEIBO
from adapters.weibo.api import decode_created_at, is_article_receipt
from adapters.weibo.capabilities import render_lead
from publisher.domain.account import Account, AccountId, Platform
from publisher.domain.results import (
    Deleted,
    NotFound,
    NotSent,
    PossibleMatch,
    Published,
    Receipt,
    Rejected,
    Submitted,
    Unknown,
)

UID = "1404376560"
POST_ID = "5316149214569024"
LINK = "https://example.gov.cn/n/K7QM-4R2T"
TEXT = f"【警惕“退款客服”诈骗】不转账、不透露验证码。编号K7QM-4R2T {LINK}"
API = "https://api.weibo.com/2"
UPLOAD = "https://upload.api.weibo.com/2"
BUSINESS = "https://c.api.weibo.com/2"
ARTICLE = "https://api.weibo.com/proxy/article/publish.json"
COVER = "https://example.gov.cn/cover.png"
MADE = datetime(2026, 11, 24, 4, 0, 31, tzinfo=UTC)


@pytest.fixture
def make_adapter(make_server):
    """Return a function that builds an adapter of a profile, and its mocked platform."""

    def make(profile: str | None, **options: str):
        server = make_server(
            {"access_token": "2.00TOKEN", "app_key": "1352222456", "app_secret": "x"}
        )
        account = Account(
            id=AccountId("beijing-weibo"),
            platform=Platform("weibo"),
            identity=UID,
            secret="weibo-beijing",
            link_template="https://example.gov.cn/n/{marker}",
            public_ip="203.0.113.7",
            profile=profile,
            options=options,
        )
        return WEIBO.create(account, server.context()), server

    return make


def post(text: str, number: str = POST_ID, **more) -> dict:
    user = {"idstr": UID}
    return {
        "created_at": "Tue Nov 24 12:00:31 +0800 2026",
        "idstr": number,
        "text": text,
        "user": user,
        **more,
    }


OLD = post("旧闻", "5316149214500000", created_at="Tue Nov 24 09:00:31 +0800 2026")


def form_of(request: httpx.Request) -> dict[str, str]:
    return {
        key: values[0] for key, values in parse_qs(request.content.decode()).items()
    }


@pytest.mark.parametrize(
    ("profile", "pictures", "readable"),
    [(None, 1, 5), ("update", 1, 5), ("biz", 9, 100)],
)
def test_traits_follow_the_profile(make_adapter, profile, pictures, readable):
    """The number of pictures and the length of a list follow the profile."""
    traits = WEIBO.capabilities(make_adapter(profile)[0].account)
    assert (traits.picture_limit, traits.list_size, traits.text_limit) == (
        pictures,
        readable,
        130,
    )


async def test_update_golden(make_adapter, make_request, golden, answer):
    """An app with permission for `update` posts text there.

    The marker is in a note that stays with the post.
    """
    adapter, server = make_adapter("update")
    server.router.post(f"{API}/statuses/update.json").mock(
        return_value=answer("weibo/share")
    )
    assert isinstance(
        await adapter.publish(make_request("weibo", text=TEXT)), Published
    )
    golden("weibo/update", server.requests[0])
    assert len(server.requests) == 1


async def test_upload_golden(make_adapter, make_request, picture, golden, answer):
    """With a picture it is `upload`, at the host for pictures; still one call."""
    adapter, server = make_adapter("update")
    server.router.post(f"{UPLOAD}/statuses/upload.json").mock(
        return_value=answer("weibo/share")
    )
    assert isinstance(
        await adapter.publish(make_request("weibo", text=TEXT, pictures=(picture,))),
        Published,
    )
    golden("weibo/upload", server.requests[0])
    assert len(server.requests) == 1


async def test_business_text_is_one_call(make_adapter, make_request, answer):
    """Without pictures a business login posts by `update`, at the business host."""
    adapter, server = make_adapter("biz")
    server.router.post(f"{BUSINESS}/statuses/update/biz.json").mock(
        return_value=answer("weibo/share")
    )
    assert isinstance(
        await adapter.publish(make_request("weibo", text=TEXT)), Published
    )
    assert len(server.requests) == 1


def nine(picture):
    return tuple(replace(picture, sha256=f"{number:064}") for number in range(9))


async def test_nine_pictures_are_stored_first_golden(
    make_adapter, make_request, picture, golden, answer
):
    """Up to nine pictures are uploaded one by one, before the post.

    One creating call then posts them, and names them in order.
    """
    adapter, server = make_adapter("biz")
    stored = [
        httpx.Response(200, json={"pic_id": f"946308c5jw1dv288whty{number}"})
        for number in range(9)
    ]
    server.router.post(f"{BUSINESS}/statuses/upload_pic/biz.json").mock(
        side_effect=stored
    )
    server.router.post(f"{BUSINESS}/statuses/upload_url_text/biz.json").mock(
        return_value=answer("weibo/share")
    )
    outcome = await adapter.publish(
        make_request("weibo", text=TEXT, pictures=nine(picture))
    )
    assert isinstance(outcome, Published)
    golden("weibo/upload_pic", server.requests[0])
    golden("weibo/upload_url_text", server.requests[-1])
    assert len(server.requests) == 10
    assert server.failpoints == ["media.after_upload"] * 9


async def test_stored_pictures_are_not_stored_again_f06(
    make_adapter, make_request, picture, answer
):
    """F06: an attempt that broke off between pictures continues where it stopped."""
    adapter, server = make_adapter("biz")
    upload = server.router.post(f"{BUSINESS}/statuses/upload_pic/biz.json")
    server.router.post(f"{BUSINESS}/statuses/upload_url_text/biz.json").mock(
        return_value=answer("weibo/share")
    )
    upload.mock(
        side_effect=[
            httpx.Response(200, json={"pic_id": "a1"}),
            httpx.Response(403, html="<html>"),
        ]
    )
    send_request = make_request("weibo", text=TEXT, pictures=nine(picture)[:2])
    assert await adapter.publish(send_request) == NotSent(reason="bad_response")
    upload.mock(side_effect=[httpx.Response(200, json={"pic_id": "b2"})])
    assert isinstance(
        await adapter.publish(replace(send_request, attempt=2)), Published
    )
    assert form_of(server.requests[-1])["pic_id"] == "a1,b2"
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "body", [{"pic_id": ""}, {"pic_id": "a,b"}, {"pic_id": 1}, {}, [1]]
)
async def test_a_picture_without_number_stops_the_attempt(
    make_adapter, make_request, picture, body
):
    """Without a valid id for each picture nothing is created."""
    adapter, server = make_adapter("biz")
    server.router.post(f"{BUSINESS}/statuses/upload_pic/biz.json").respond(
        200, json=body
    )
    assert await adapter.publish(
        make_request("weibo", text=TEXT, pictures=(picture,))
    ) == NotSent(reason="bad_response")


@pytest.mark.parametrize("profile", ["update", "biz"])
async def test_only_share_demands_a_link_and_strips_topics(
    make_adapter, make_request, profile
):
    """Only `share` demands a link and strips topics.

    Other profiles accept topics, and texts without a link; an unreadable link is still reported.
    """
    adapter, _ = make_adapter(profile)
    rendered = make_request("weibo", text="#防诈骗# 编号K7QM-4R2T").rendered
    assert WEIBO.validate(adapter.account, rendered) == ()
    clinging = replace(rendered, text=f"见{LINK}详情", link=LINK)
    assert [problem.code for problem in WEIBO.validate(adapter.account, clinging)] == [
        "weibo_link_not_apart"
    ]


async def test_long_text_needs_its_option(make_adapter, make_request, answer):
    """Only a business login with `long_text` may use up to 1900 characters."""
    words = "编号K7QM-4R2T" + "雨" * 1000
    rendered = make_request("weibo", text=words).rendered
    for profile, options in (
        ("biz", {}),
        ("update", {"long_text": "true"}),
        ("biz", {"long_text": "no"}),
    ):
        assert "weibo_text_too_long" in {
            item.code
            for item in WEIBO.validate(
                make_adapter(profile, **options)[0].account, rendered
            )
        }
    adapter, server = make_adapter("biz", long_text="true")
    assert WEIBO.validate(adapter.account, rendered) == ()
    server.router.post(f"{BUSINESS}/statuses/update/biz.json").mock(
        return_value=answer("weibo/share")
    )
    await adapter.publish(make_request("weibo", text=words))
    await adapter.publish(make_request("weibo", text=TEXT))
    assert [form_of(request).get("is_longtext") for request in server.requests] == [
        "1",
        None,
    ]


async def test_business_list_goes_deeper_f53(make_adapter, make_request):
    """F53: a business list holds a hundred posts.

    Ninety newer ones still prove that ours is absent.
    """
    adapter, server = make_adapter("biz")
    newer = [post("别的", str(int(POST_ID) + 99 - number)) for number in range(90)]
    route = server.router.get(f"{BUSINESS}/statuses/user_timeline/biz.json")
    route.respond(200, json={"statuses": newer, "total_number": 90})
    send_request = make_request("weibo", text=TEXT)
    assert isinstance(await adapter.find_post(send_request), NotFound)
    route.respond(200, json={"statuses": newer, "total_number": 900})
    assert await adapter.find_post(send_request) == Unknown(
        reason="weibo_list_too_short"
    )
    assert [request.url.params["count"] for request in server.requests] == [
        "20",
        "20",
        "100",
    ]


async def test_a_longer_list_shows_our_post_below_one_that_looks_like_it_f54(
    make_adapter, make_request
):
    """F54: a longer list shows our post below one that looks like it.

    Staff have posted the same text by hand since. The list that reaches back holds ours as well.
    """
    adapter, server = make_adapter("biz")
    number = int(POST_ID)
    by_hand = post(TEXT.replace("K7QM-4R2T", ""), str(number + 40))
    newer = [post("别的", str(number + 39 - place)) for place in range(24)]
    route = server.router.get(f"{BUSINESS}/statuses/user_timeline/biz.json")
    route.side_effect = lambda request: httpx.Response(
        200,
        json={
            "statuses": [by_hand, *newer, post(TEXT)][
                : int(request.url.params["count"])
            ],
            "total_number": 900,
        },
    )
    finding = await adapter.find_post(make_request("weibo", text=TEXT))
    assert isinstance(finding, Published)
    assert finding.receipt.remote_id == POST_ID
    assert [request.url.params["count"] for request in server.requests] == ["20", "100"]


@pytest.mark.parametrize(
    "longer",
    [{"statuses": [OLD], "total_number": 900}, {"error_code": 10009, "error": "x"}],
)
async def test_a_possible_match_is_not_refuted_by_a_longer_list_f54(
    make_adapter, make_request, longer
):
    """F54: a person decides, although the longer list shows nothing of it, or cannot be read."""
    adapter, server = make_adapter("biz")
    by_hand = post(TEXT.replace("K7QM-4R2T", ""), str(int(POST_ID) + 40))
    lists = {"20": {"statuses": [by_hand], "total_number": 900}, "100": longer}
    route = server.router.get(f"{BUSINESS}/statuses/user_timeline/biz.json")
    route.side_effect = lambda request: httpx.Response(
        200, json=lists[request.url.params["count"]]
    )
    finding = await adapter.find_post(make_request("weibo", text=TEXT))
    assert isinstance(finding, PossibleMatch)
    assert {request.url.params["count"] for request in server.requests} == {"20", "100"}


async def test_the_note_is_a_marker_f54(make_adapter, make_request):
    """F54: a post with a changed text is known by the note that stays with it.

    Its text is not verified.
    """
    adapter, server = make_adapter("update")
    garbled = post(
        "内容已被调整", annotations=[{"type": "publisher", "marker": "K7QM-4R2T"}]
    )
    server.router.get(f"{API}/statuses/user_timeline.json").respond(
        200, json={"statuses": [garbled, OLD]}
    )
    finding = await adapter.find_post(make_request("weibo", text=TEXT))
    assert isinstance(finding, Published)
    assert not finding.is_text_confirmed


async def test_business_removal_is_confirmed_f78(make_adapter):
    """F78: a business login deletes by its own call.

    The proof is that the post cannot be read any more.
    """
    adapter, server = make_adapter("biz")
    server.router.get(f"{API}/statuses/show.json").respond(
        400, json={"error_code": 20101, "error": "x"}
    )
    server.router.post(f"{BUSINESS}/statuses/destroy/biz.json").respond(
        200, json=post(TEXT)
    )
    assert (
        await adapter.retract(Receipt(remote_id=POST_ID, url="x", published_at=MADE))
        == Deleted()
    )


# --- headline articles ---

LINES = f"【警惕“退款客服”诈骗】〔K7QM-4R2T〕不转账。\n{'详情 <如下>。' * 60}\n{LINK}"


def done(**data) -> httpx.Response:
    return httpx.Response(
        200, json={"code": "100000", "msg": "", "data": {"mid": POST_ID, **data}}
    )


async def test_article_golden(make_adapter, make_request, golden):
    """A text too long for a post is an article.

    It counts as published only when its post is seen on the account.
    """
    adapter, server = make_adapter(None, article_cover=COVER)
    send_request = make_request("weibo", text=LINES, link=LINK)
    assert WEIBO.validate(adapter.account, send_request.rendered) == ()
    server.router.post(ARTICLE).mock(return_value=done())
    outcome = await adapter.publish(send_request)
    golden("weibo/article", server.requests[0])
    assert isinstance(outcome, Submitted)
    assert outcome.check_again_at == server.now + timedelta(minutes=2)
    form = form_of(server.requests[0])
    assert form["text"] == f"【警惕“退款客服”诈骗】〔K7QM-4R2T〕不转账。 {LINK}"
    assert quote("<p>详情 &lt;如下&gt;。", safe="") in form["content"]
    timeline = server.router.get(f"{API}/statuses/user_timeline.json")
    timeline.respond(200, json={"statuses": [post(form["text"]), OLD]})
    followed = await adapter.check_ticket(outcome.ticket)
    found = await adapter.find_post(send_request)
    assert isinstance(followed, Published)
    assert followed == found


@pytest.mark.parametrize(("cover", "method"), [(None, "article"), (COVER, "share")])
async def test_f99_an_article_is_looked_for_as_it_was_sent(
    make_adapter, make_request, cover, method
):
    """F99: an article is looked for as it was sent.

    The account's present setting for articles says nothing about a post that was sent before.
    """
    now = {"article_cover": cover} if cover else {}
    adapter, server = make_adapter(None, **now)
    text = LINES if method == "article" else TEXT
    sent = make_request("weibo", text=text, link=LINK, method=method)
    lead = render_lead(sent.rendered) if method == "article" else text
    timeline = server.router.get(f"{API}/statuses/user_timeline.json")
    timeline.respond(200, json={"statuses": [post(lead), OLD]})
    found = await adapter.find_post(sent)
    assert isinstance(found, Published)
    assert is_article_receipt(found.receipt) is (method == "article")


@pytest.mark.parametrize(
    ("profile", "text", "method"),
    [
        (None, TEXT, "share"),
        ("update", TEXT, "update"),
        ("biz", TEXT, "biz"),
        (None, LINES, "article"),
        ("biz", LINES, "article"),
    ],
)
def test_the_method_of_a_call_follows_from_profile_and_length(
    make_adapter, make_request, profile, text, method
):
    """The call stored with an attempt is the call that is made then."""
    account = make_adapter(profile, article_cover=COVER)[0].account
    rendered = make_request("weibo", text=text, link=LINK).rendered
    assert WEIBO.call_method(account, rendered, is_urgent=False) == method


async def test_a_short_text_stays_a_post(make_adapter, make_request, answer):
    """Where articles are written, a text that fits a post is still a post."""
    adapter, server = make_adapter(None, article_cover=COVER)
    server.router.post(f"{API}/statuses/share.json").mock(
        return_value=answer("weibo/share")
    )
    assert isinstance(
        await adapter.publish(make_request("weibo", text=TEXT, link=LINK)), Published
    )


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            httpx.Response(200, json={"code": "11003", "msg": "x", "data": ""}),
            "weibo_11003",
        ),
        (
            httpx.Response(200, json={"code": 11002, "msg": "x", "data": ""}),
            "weibo_11002",
        ),
        (httpx.Response(200, json={"code": "99999", "msg": "x"}), "weibo_99999"),
        (httpx.Response(200, json={"data": {}}), "bad_response"),
        (httpx.Response(200, html="<html>"), "bad_response"),
        (httpx.Response(504), "server_error"),
    ],
)
async def test_unclear_articles_are_unknown_f34(
    make_adapter, make_request, reply, reason
):
    """F34: an article that may have been made halfway is Unknown.

    So is every answer that says nothing.
    """
    adapter, server = make_adapter(None, article_cover=COVER)
    server.router.post(ARTICLE).mock(return_value=reply)
    assert await adapter.publish(
        make_request("weibo", text=LINES, link=LINK)
    ) == Unknown(reason=reason)
    assert len(server.requests) == 1


async def test_each_limit_of_an_article_f76(make_adapter, make_request, picture):
    """F76: an article needs a short title, a cover's address, and takes no pictures."""
    adapter, _ = make_adapter(None, article_cover=COVER)
    good = make_request("weibo", text=LINES, link=LINK).rendered
    bad = {
        "weibo_title_length": replace(good, title="题" * 33),
        "weibo_too_many_images": replace(good, images=(picture,)),
        "weibo_lead_too_long": replace(
            good, text=f"{'雨' * 1900}〔K7QM-4R2T〕\n{LINK}"
        ),
        "weibo_text_too_long": replace(good, text=LINES + "\n雨" * 20_000),
    }
    for code, rendered in bad.items():
        assert [
            problem.code for problem in WEIBO.validate(adapter.account, rendered)
        ] == [code]
    nowhere = make_adapter(None, article_cover="cover.png")[0]
    assert [problem.code for problem in WEIBO.validate(nowhere.account, good)] == [
        "weibo_article_image"
    ]
    refused = await adapter.publish(
        make_request("weibo", text=LINES, link=LINK, pictures=(picture,))
    )
    assert isinstance(refused, Rejected)


async def test_an_article_is_not_gone_with_its_post_f78(make_adapter, make_request):
    """F78: deleting the post that leads to an article is not enough.

    A person is alerted before it counts as done.
    """
    adapter, server = make_adapter(None, article_cover=COVER)
    send_request = make_request("weibo", text=LINES, link=LINK)
    timeline = server.router.get(f"{API}/statuses/user_timeline.json")
    timeline.respond(200, json={"statuses": [post(LINES.splitlines()[0]), OLD]})
    finding = await adapter.find_post(send_request)
    assert isinstance(finding, Published)
    gone = httpx.Response(400, json={"error_code": 20101, "error": "x"})
    server.router.post(f"{API}/statuses/destroy.json").mock(
        side_effect=[httpx.Response(200, json=post("x")), gone, gone]
    )
    server.router.get(f"{API}/statuses/show.json").mock(return_value=gone)
    stays = Rejected(code="weibo_article_not_deleted", reason=finding.receipt.url)
    assert await adapter.retract(finding.receipt) == stays
    server.now += timedelta(minutes=9)
    assert await adapter.retract(finding.receipt) == stays
    server.now += timedelta(minutes=1)
    assert await adapter.retract(finding.receipt) == Deleted()


async def test_an_article_by_hand_is_a_possible_match_f56(make_adapter, make_request):
    """F56: a post like the one that would lead to our article goes to a person.

    It is a possible match without the marker.
    """
    adapter, server = make_adapter(None, article_cover=COVER)
    by_hand = post("【警惕“退款客服”诈骗】不转账。 http://t.cn/A6abCDeF")
    server.router.get(f"{API}/statuses/user_timeline.json").respond(
        200, json={"statuses": [by_hand, OLD]}
    )
    assert isinstance(
        await adapter.find_post(make_request("weibo", text=LINES, link=LINK)),
        PossibleMatch,
    )


def test_the_old_post_of_these_tests_is_old():
    """The post that marks the end of a list is older than the call, by its id too."""
    assert decode_created_at(OLD["idstr"]) < MADE
