"""The simulated WeChat: tokens, pictures, drafts, publishing."""

import hashlib
import json

import pytest

from publisher.simulator.wechat.html import sanitise
from tests.simulator.wechat_calls import (
    JPEG,
    PNG,
    article,
    call,
    draft,
    posts,
    shift,
    stable,
    submit,
    upload,
)
from tests.wait import eventually

PATIENCE = 60


async def test_a_stable_token_is_the_same_until_its_end_nears(sim):
    """Repeated calls return the same token, in its last five minutes a new one; both are valid."""
    first = await stable(sim)
    assert await stable(sim) == {**first, "expires_in": first["expires_in"]}
    await shift(sim, 6901)
    second = await stable(sim)
    assert second["access_token"] != first["access_token"]
    for each in (first, second):
        assert "errcode" not in await call(sim, each["access_token"], "draft/batchget")
    await shift(sim, 300)
    assert (await call(sim, first["access_token"], "draft/batchget"))[
        "errcode"
    ] == 42001


async def test_a_forced_refresh_expires_the_old_token(sim):
    """Forced, but not within thirty seconds of the last."""
    first = await stable(sim)
    assert (await stable(sim, force=True))["access_token"] == first["access_token"]
    await shift(sim, 31)
    second = await stable(sim, force=True)
    assert second["access_token"] != first["access_token"]
    assert (await call(sim, first["access_token"], "draft/batchget"))[
        "errcode"
    ] == 42001


async def test_the_plain_token_replaces_the_one_before(sim):
    """Each call issues a new token, and the old one expires after five minutes.

    Stable tokens are not affected.
    """
    steady = (await stable(sim))["access_token"]
    query = {"grant_type": "client_credential", "appid": "wx1", "secret": "s"}
    first = (await sim.get("/cgi-bin/token", params=query)).json()["access_token"]
    assert (await sim.get("/cgi-bin/token", params=query)).json()[
        "access_token"
    ] != first
    assert "errcode" not in await call(sim, first, "draft/batchget")
    await shift(sim, 301)
    assert (await call(sim, first, "draft/batchget"))["errcode"] == 42001
    assert "errcode" not in await call(sim, steady, "draft/batchget")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"appid": ""}, 41002), ({"secret": ""}, 41004), ({"grant_type": "x"}, 40002)],
)
async def test_token_calls_are_checked(sim, changes, expected):
    """Missing fields have their own codes; the response is HTTP 200 all the same."""
    assert (await stable(sim, **changes))["errcode"] == expected


async def test_a_registered_account_has_one_secret(sim):
    """A registered account refuses another secret."""
    made = {"platform": "wechat", "account": "wx9", "name": "示例公安"}
    secret = (await sim.post("/_sim/accounts", json=made)).json()
    assert secret["app_id"] == "wx9"
    assert (await stable(sim, appid="wx9"))["errcode"] == 40125
    assert (await stable(sim, appid="wx9", secret=secret["app_secret"]))["access_token"]


async def test_calls_need_a_valid_token_and_post(sim, token):
    """No token, an unknown one, another method: three codes, each with a request id."""
    assert (await sim.post("/cgi-bin/draft/add")).json()["errcode"] == 41001
    unknown = await call(sim, "nonsense", "draft/add")
    assert unknown["errcode"] == 40001
    assert " rid: " in unknown["errmsg"]
    assert (await sim.get("/cgi-bin/draft/add", params={"access_token": token})).json()[
        "errcode"
    ] == 43002


async def test_the_url_of_an_inline_picture_names_its_bytes(sim, token):
    """It contains the digest; the content type is text."""
    answer = await upload(sim, token, "media/uploadimg")
    assert hashlib.sha256(PNG).hexdigest() in answer.json()["url"]
    assert answer.json()["url"].startswith("http://mmbiz.qpic.cn/")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "data", "query", "expected"),
    [
        ("media/uploadimg", b"GIF89a", {}, 40005),
        ("media/uploadimg", PNG + b"0" * 1024 * 1024, {}, 40009),
        ("material/add_material", b"text", {"type": "image"}, 40005),
        ("material/add_material", PNG, {"type": "video"}, 40004),
    ],
)
async def test_pictures_are_checked(sim, token, *, path, data, query, expected):
    """Type and size decide, each with its code."""
    assert (await upload(sim, token, path, data, **query)).json()["errcode"] == expected


async def test_a_part_without_a_file_name_is_no_file(sim, token):
    """A multipart part needs a file name, else the data are missing."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="media"\r\n\r\n'
        + PNG
        + b"\r\n--b--\r\n"
    )
    answer = await sim.post(
        "/cgi-bin/media/uploadimg",
        params={"access_token": token},
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.json()["errcode"] == 41005


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"title": ""}, 40035),
        ({"title": "题" * 65}, 45003),
        ({"author": "人" * 17}, 45110),
        ({"digest": "摘" * 129}, 45004),
        ({"content_source_url": "https://a.cn/" + "x" * 1024}, 45005),
        ({"content": ""}, 44004),
        ({"content": "字" * 20000}, 45002),
        ({"thumb_media_id": "unknown"}, 40007),
        ({"content": '<a href="https://example.gov.cn">x</a>'}, 45166),
    ],
)
async def test_articles_are_checked(sim, token, changes, expected):
    """Each limit of a draft has its code."""
    body = {"articles": [await article(sim, token, **changes)]}
    assert (await call(sim, token, "draft/add", body))["errcode"] == expected


async def test_drafts_are_counted_and_must_be_json(sim, token):
    """No JSON, no article, nine articles: each refused."""
    one = await article(sim, token)
    broken = await sim.post(
        "/cgi-bin/draft/add", params={"access_token": token}, content=b"{"
    )
    assert broken.json()["errcode"] == 47001
    assert (await call(sim, token, "draft/add", {"articles": []}))["errcode"] == 44003
    assert (await call(sim, token, "draft/add", {"articles": [one] * 9}))[
        "errcode"
    ] == 45008


async def test_escapes_are_stored_as_written(sim, token):
    r"""`\u4f60` in the request reaches readers as these six characters."""
    body = json.dumps({"articles": [await article(sim, token, title="你好")]})
    answer = await sim.post(
        "/cgi-bin/draft/add", params={"access_token": token}, content=body
    )
    kept = await call(sim, token, "draft/get", {"media_id": answer.json()["media_id"]})
    assert kept["news_item"][0]["title"] == "\\u4f60\\u597d"


async def test_drafts_can_be_read_listed_and_deleted(sim, token):
    """A draft is read back, listed newest first, and gone after its deletion."""
    first = await draft(sim, token, content_source_url="https://example.gov.cn/?pub=1")
    second = await draft(sim, token)
    kept = (await call(sim, token, "draft/get", {"media_id": first}))["news_item"][0]
    assert kept["content_source_url"].endswith("pub=1")
    assert kept["digest"] == "正文"
    listed = await call(
        sim, token, "draft/batchget", {"offset": 0, "count": 20, "no_content": 1}
    )
    assert [each["media_id"] for each in listed["item"]] == [second, first]
    assert "content" not in listed["item"][0]["content"]["news_item"][0]
    assert (await call(sim, token, "draft/delete", {"media_id": first}))["errcode"] == 0
    assert (await call(sim, token, "draft/get", {"media_id": first}))[
        "errcode"
    ] == 40007
    count = await sim.get("/cgi-bin/draft/count", params={"access_token": token})
    assert count.json() == {"total_count": 1}


async def test_clean_content_is_stored_byte_for_byte(sim, token):
    """Content without anything forbidden comes back exactly as sent."""
    html = "<section style='a:b'>\n<P>A&amp;B &nbsp;<br/><!-- c --><img data-w=\"1\"\tsrc='http://mmbiz.qpic.cn/x/0'></P></section>"
    name = await draft(sim, token, content=html)
    assert (await call(sim, token, "draft/get", {"media_id": name}))["news_item"][0][
        "content"
    ] == html
    await submit(sim, token, name)
    assert (await posts(sim))[0]["html"] == html


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("a<script>x<p></script>b", "ab"),
        ("a<style>p{}</style>b", "ab"),
        ("a<iframe src='x'>y</iframe>b", "ab"),
        ('<p class="c" id="i" onclick="x()" style="s">t</p>', '<p style="s">t</p>'),
        (
            '<img src="https://elsewhere.cn/a.png" alt="&quot;">',
            '<img src="" alt="&quot;">',
        ),
        (
            '<a href="https://mp.weixin.qq.com/s?x=1">t</a>',
            '<a href="https://mp.weixin.qq.com/s?x=1">t</a>',
        ),
        ('<a href="javascript:x()">t</a>', None),
        ("<svg/onload=x()><p>t</p>", "<svg><p>t</p>"),
    ],
)
def test_forbidden_html_is_removed(html, expected):
    """Scripts, frames, handlers, classes and external pictures are removed.

    External links are refused.
    """
    assert sanitise(html) == expected


async def test_publishing_goes_through_review(sim, token):
    """A submission is accepted at once, in progress first, then public with a URL.

    The draft is gone at acceptance.
    """
    url = (await upload(sim, token, "media/uploadimg", JPEG)).json()["url"]
    name = await draft(sim, token, content=f'<p><img src="{url}"></p>')
    job = await submit(sim, token, name)
    assert job["errcode"] == 0
    assert (await call(sim, token, "draft/get", {"media_id": name}))["errcode"] == 40007
    assert (await submit(sim, token, name))["errcode"] == 40007
    assert (
        await call(sim, token, "freepublish/get", {"publish_id": job["publish_id"]})
    )["publish_status"] == 1
    await shift(sim, 1)
    done = await call(
        sim, token, "freepublish/get", {"publish_id": str(job["publish_id"])}
    )
    assert done["publish_status"] == 0
    assert (
        f"mid={job['publish_id']}" in done["article_detail"]["item"][0]["article_url"]
    )
    (post,) = await posts(sim)
    assert post["id"] == done["article_id"]
    assert post["images"] == [hashlib.sha256(each).hexdigest() for each in (PNG, JPEG)]
    assert post["visible"]


async def test_a_review_ends_by_itself(sim, token):
    """Without another call the article becomes visible after a moment, and the log contains it."""
    await submit(sim, token, await draft(sim, token))

    async def kinds():
        return [
            entry["kind"]
            for entry in (await sim.get("/_sim/log")).json()
            if entry["post_id"]
        ]

    async def is_visible():
        return "visible" in await kinds()

    await eventually(is_visible, PATIENCE)
    assert await kinds() == ["act", "reply", "visible"]


async def test_a_job_makes_one_creation(sim, token):
    """The creation is logged once, when the submit is accepted, with any verdict."""
    await sim.post(
        "/_sim/faults",
        json={"platform": "wechat", "fault": {"kind": "review", "verdict": "hold"}},
    )
    job = await submit(sim, token, await draft(sim, token))
    (post,) = await posts(sim)
    await sim.post(
        "/_sim/review",
        json={"account": "wx1", "post_id": str(job["publish_id"]), "verdict": "refuse"},
    )
    state = await call(sim, token, "freepublish/get", {"publish_id": job["publish_id"]})
    assert (state["publish_status"], state["fail_idx"]) == (4, [1])
    log = (await sim.get("/_sim/log")).json()
    assert [
        each["post_id"] for each in log if each["kind"] == "act" and each["post_id"]
    ] == [post["id"]]


async def test_a_draft_can_stay_until_its_job_ends(sim, token):
    """With `finish` the draft stays during the review and cannot be submitted again.

    Then it is removed.
    """
    await sim.post("/_sim/settings", json={"wechat_consume": "finish"})
    name = await draft(sim, token)
    await submit(sim, token, name)
    assert "news_item" in await call(sim, token, "draft/get", {"media_id": name})
    assert (await submit(sim, token, name))["errcode"] == 53503
    await shift(sim, 1)
    assert (await call(sim, token, "draft/get", {"media_id": name}))["errcode"] == 40007


async def test_a_draft_can_be_submitted_again_while_it_exists(sim, token):
    """With `accept` another submit creates another article, until the first job has ended."""
    await sim.post(
        "/_sim/settings", json={"wechat_consume": "finish", "wechat_repeats": "accept"}
    )
    name = await draft(sim, token)
    assert [(await submit(sim, token, name))["errcode"] for _ in range(2)] == [0, 0]
    await shift(sim, 1)
    assert (await submit(sim, token, name))["errcode"] == 40007
    assert (
        len(
            (
                await call(
                    sim, token, "freepublish/batchget", {"offset": 0, "count": 20}
                )
            )["item"]
        )
        == 2
    )


async def test_published_articles_are_listed_read_and_deleted(sim, token):
    """batchget and getarticle show it with its marker; a deletion shows in both and in the job."""
    job = await submit(
        sim, token, await draft(sim, token, content_source_url="https://a.cn/?pub=9")
    )
    await shift(sim, 1)
    listed = await call(
        sim, token, "freepublish/batchget", {"offset": 0, "count": 1, "no_content": 1}
    )
    (item,) = listed["item"]
    assert (
        item["content"]["news_item"][0]["content_source_url"] == "https://a.cn/?pub=9"
    )
    wanted = {"article_id": item["article_id"]}
    assert not (await call(sim, token, "freepublish/getarticle", wanted))["news_item"][
        0
    ]["is_deleted"]
    assert (await call(sim, token, "freepublish/delete", wanted))["errcode"] == 0
    assert (await call(sim, token, "freepublish/getarticle", wanted))["news_item"][0][
        "is_deleted"
    ]
    state = await call(sim, token, "freepublish/get", {"publish_id": job["publish_id"]})
    assert state["publish_status"] == 5


async def test_a_list_can_show_excerpts(sim, token):
    """Title, digest and link are cut in the list; the article itself keeps them."""
    await submit(
        sim,
        token,
        await draft(
            sim, token, content_source_url="https://a.cn/?pub=9", digest="请勿转账"
        ),
    )
    await shift(sim, 1)
    rule = {
        "endpoint": "/cgi-bin/freepublish/batchget",
        "fault": {"kind": "rewrite", "how": "excerpt", "characters": 3},
    }
    await sim.post("/_sim/faults", json=rule)
    [item] = (
        await call(
            sim,
            token,
            "freepublish/batchget",
            {"offset": 0, "count": 1, "no_content": 1},
        )
    )["item"]
    news = item["content"]["news_item"][0]
    assert (news["title"], news["digest"], news["content_source_url"]) == (
        "警惕退…",
        "请勿转…",
        "",
    )
    whole = await call(
        sim, token, "freepublish/getarticle", {"article_id": item["article_id"]}
    )
    assert whole["news_item"][0]["title"] == "警惕退款诈骗"


async def test_unknown_ids_have_their_codes(sim, token):
    """Unknown jobs, articles and drafts are refused."""
    assert (await call(sim, token, "freepublish/get", {"publish_id": 1}))[
        "errcode"
    ] == 53502
    assert (await call(sim, token, "freepublish/getarticle", {"article_id": "x"}))[
        "errcode"
    ] == 53600
    assert (await call(sim, token, "freepublish/delete", {"article_id": "x"}))[
        "errcode"
    ] == 53600
    assert (await submit(sim, token, "x"))["errcode"] == 40007


async def test_a_removal_by_the_platform_is_another_state(sim, token):
    """Banned by the system is 6, not 5."""
    job = await submit(sim, token, await draft(sim, token))
    await shift(sim, 1)
    await sim.request("DELETE", f"/_sim/posts/{(await posts(sim))[0]['id']}")
    state = await call(sim, token, "freepublish/get", {"publish_id": job["publish_id"]})
    assert state["publish_status"] == 6


async def test_an_expired_token_stays_expired(sim, token):
    """The fault expires the token before the call runs; stable_token returns another."""
    await sim.post(
        "/_sim/faults",
        json={"endpoint": "*/draft/add", "nth": [1], "fault": {"kind": "expire_token"}},
    )
    body = {"articles": [{"title": "t"}]}
    assert (await call(sim, token, "draft/add", body))["errcode"] == 42001
    assert (await call(sim, token, "draft/batchget"))["errcode"] == 42001
    assert (await stable(sim))["access_token"] != token


@pytest.mark.parametrize(
    ("kind", "expected"), [("duplicate", 45065), ("captcha", 53504)]
)
async def test_refusals_have_the_platforms_format(sim, token, kind, expected):
    """A refusal by fault is errcode and errmsg with HTTP 200."""
    name = await draft(sim, token)
    await sim.post("/_sim/faults", json={"platform": "wechat", "fault": {"kind": kind}})
    assert (await submit(sim, token, name))["errcode"] == expected
