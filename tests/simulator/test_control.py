"""The simulator's control endpoints, its state across restarts, and its pages."""

import asyncio
import contextlib
import json

import httpx
import pytest

from publisher.simulator import create_app, serve
from tests.wait import eventually

LINK = "https://example.gov.cn/n/1"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 64
PATIENCE = 60
EVIL = "<script>alert(1)</script>"


class StatefulSimulator:
    """A simulator with a state directory that can be restarted."""

    def __init__(self, folder):
        self.folder = folder
        self.start()

    def start(self):
        self.app = create_app(self.folder)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://sim"
        )

    async def restart(self):
        await self.close()
        self.start()

    async def close(self):
        await self.http.aclose()
        self.app.simulator_state.files.close()


@pytest.fixture
async def kept(tmp_path):
    simulator = StatefulSimulator(tmp_path)
    yield simulator
    await simulator.close()


async def share(sim, text=f"警告 {LINK}", **more):
    return (
        await sim.post(
            "/2/statuses/share.json", data={"access_token": "7", "status": text}, **more
        )
    ).json()


async def wechat_token(sim):
    body = {"grant_type": "client_credential", "appid": "wx1", "secret": "s"}
    return (await sim.post("/cgi-bin/stable_token", json=body)).json()["access_token"]


async def by_hand(sim, platform, account="acc", **facts):
    answer = await sim.post(
        "/_sim/posts", json={"platform": platform, "account": account, **facts}
    )
    assert answer.status_code == 200
    return answer.json()


async def test_posts_have_the_promised_shape(sim):
    """Each post carries the fields of the public interface."""
    await share(sim)
    (post,) = (await sim.get("/_sim/posts?account=7")).json()
    promised = {
        "id",
        "account",
        "platform",
        "created",
        "text",
        "title",
        "html",
        "images",
        "removed",
        "visible",
    }
    assert promised <= post.keys()
    assert (await sim.get("/_sim/posts?account=8")).json() == []


async def test_log_entries_have_the_promised_shape(sim):
    """Each entry carries the fields of the public interface."""
    await share(sim)
    promised = {
        "seq",
        "t",
        "platform",
        "account",
        "endpoint",
        "kind",
        "post_id",
        "body_sha256",
        "status",
        "fault",
    }
    for entry in (await sim.get("/_sim/log")).json():
        assert promised <= entry.keys()
    assert (await sim.get("/_sim/log?since=x")).status_code == 400


@pytest.mark.parametrize("platform", ["weibo", "wechat", "tieba"])
async def test_a_post_by_hand_is_a_creation_and_can_be_removed(sim, platform):
    """A person's post is logged once as act, its removal as removed.

    It stays listed as removed.
    """
    post = await by_hand(sim, platform, text="手工", title="标题")
    gone = (await sim.request("DELETE", f"/_sim/posts/{post['id']}")).json()
    assert (gone["removed"], gone["visible"]) == (True, False)
    assert [each["kind"] for each in (await sim.get("/_sim/log")).json()] == [
        "act",
        "visible",
        "removed",
    ]
    assert (await sim.get("/_sim/posts")).json() == [gone]
    assert (await sim.request("DELETE", "/_sim/posts/none")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("accounts", {"platform": "x", "account": "1"}),
        ("posts", {"platform": "weibo"}),
        ("review", {"verdict": "maybe"}),
        ("settings", {"no_such": 1}),
        ("settings", {"weibo_duplicates": False}),
        ("settings", {"wechat_review_seconds": "soon"}),
        ("clock", {"shift": "soon"}),
        ("faults", []),
    ],
)
async def test_invalid_input_is_refused(sim, path, body):
    """Invalid input is a 400 with a reason."""
    answer = await sim.post(f"/_sim/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_review_of_nothing_is_not_found(sim):
    """A verdict on an unknown post is a 404."""
    assert (
        await sim.post("/_sim/review", json={"post_id": "1", "verdict": "pass"})
    ).status_code == 404


async def test_reset_empties_the_state(sim):
    """Posts, accounts, log, faults, settings and clock are as at the start."""
    await share(sim)
    await sim.post("/_sim/faults", json={"fault": {"kind": "captcha"}})
    await sim.post("/_sim/settings", json={"open": False})
    await sim.post("/_sim/clock", json={"shift": 99})
    await sim.post("/_sim/reset")
    for path in ("posts", "accounts", "log", "faults"):
        assert (await sim.get(f"/_sim/{path}")).json() == []
    assert (await sim.get("/_sim/settings")).json()["open"]
    assert (await sim.post("/_sim/clock", json={})).json()["shift"] == 0
    assert "idstr" in await share(sim)


async def test_a_name_is_shown_once_given(sim):
    """Until named, an account shows its identity."""
    assert (await share(sim))["user"]["screen_name"] == "7"
    await sim.post(
        "/_sim/accounts", json={"platform": "weibo", "account": "7", "name": "平安"}
    )
    assert (await share(sim, f"二 {LINK}"))["user"]["screen_name"] == "平安"
    assert (await sim.get("/_sim/accounts")).json()[0]["name"] == "平安"


async def test_the_secret_of_an_account_is_an_object(sim):
    """Any other is named as a mistake of the request."""
    answer = await sim.post(
        "/_sim/accounts",
        json={"platform": "weibo", "account": "7", "secret": "access_token"},
    )
    assert answer.status_code == 400
    assert "secret is an object" in answer.text


async def test_an_account_that_nobody_named_has_the_name_it_was_given_at_the_start():
    """An account is shown by its agency's name, not by its id, from its first call on.

    Other accounts keep their id.
    """
    app = create_app(account_names={("weibo", "7"): "福州市公安局"})
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sim"
    ) as sim:
        for token in ("7", "8"):
            await sim.post(
                "/_sim/posts",
                json={"platform": "weibo", "account": token, "text": "甲"},
            )
        assert [each["name"] for each in (await sim.get("/_sim/accounts")).json()] == [
            "福州市公安局",
            "8",
        ]


async def test_a_restart_keeps_posts_log_and_pictures(kept):
    """Posts, numbering, accounts, pictures and removals survive, and ids continue."""
    first = await share(kept.http, files={"pic": ("a.png", PNG, "image/png")})
    second = await share(kept.http, f"二 {LINK}")
    await kept.http.request("DELETE", f"/_sim/posts/{second['idstr']}")
    await kept.http.post(
        "/_sim/accounts", json={"platform": "weibo", "account": "7", "name": "平安"}
    )
    before = [
        (await kept.http.get(f"/_sim/{path}")).json()
        for path in ("posts", "log", "accounts")
    ]
    await kept.restart()
    assert [
        (await kept.http.get(f"/_sim/{path}")).json()
        for path in ("posts", "log", "accounts")
    ] == before
    digest = before[0][0]["images"][0]
    assert (await kept.http.get(f"/_sim/media/{digest}")).content == PNG
    third = await share(kept.http, f"三 {LINK}")
    assert third["idstr"] not in (first["idstr"], second["idstr"])
    assert (await kept.http.get("/_sim/log")).json()[-1]["seq"] == len(before[1]) + 4


async def test_a_restart_keeps_drafts_tokens_and_reviews(kept):
    """A WeChat token and draft are still valid; a running review ends."""
    await kept.http.post("/_sim/settings", json={"wechat_review_seconds": 60})
    query = {"access_token": await wechat_token(kept.http)}
    files = {"media": ("a.png", PNG, "image/png")}
    answer = await kept.http.post(
        "/cgi-bin/material/add_material", params={**query, "type": "image"}, files=files
    )
    article = {
        "title": "题",
        "content": "<p>文</p>",
        "thumb_media_id": answer.json()["media_id"],
    }
    names = [
        (
            await kept.http.post(
                "/cgi-bin/draft/add", params=query, json={"articles": [article]}
            )
        ).json()["media_id"]
        for _ in range(2)
    ]
    await kept.http.post(
        "/cgi-bin/freepublish/submit", params=query, json={"media_id": names[0]}
    )
    await kept.restart()
    assert await wechat_token(kept.http) == query["access_token"]
    assert (
        "news_item"
        in (
            await kept.http.post(
                "/cgi-bin/draft/get", params=query, json={"media_id": names[1]}
            )
        ).json()
    )
    assert not (await kept.http.get("/_sim/posts")).json()[0]["visible"]
    await kept.http.post("/_sim/clock", json={"shift": 61})
    assert (await kept.http.get("/_sim/posts")).json()[0]["visible"]


async def test_a_review_left_running_ends_after_a_restart(tmp_path):
    """A server started with a review under way ends it by itself."""
    before = StatefulSimulator(tmp_path)
    await before.http.post(
        "/_sim/faults", json={"fault": {"kind": "review", "seconds": 0.2}}
    )
    await share(before.http)
    await before.close()
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve("127.0.0.1", 0, tmp_path, on_ready=ready.set_result)
    )
    port = await asyncio.wait_for(ready, PATIENCE)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as sim:

        async def is_visible():
            return (await sim.get("/_sim/posts")).json()[0]["visible"]

        await eventually(is_visible, PATIENCE)
        kinds = [each["kind"] for each in (await sim.get("/_sim/log")).json()]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert kinds == ["recv", "act", "reply", "visible"]


async def test_a_torn_line_is_dropped(kept):
    """A line cut by a crash is dropped and the file goes on after the last whole one."""
    await share(kept.http)
    await kept.http.aclose()
    kept.app.simulator_state.files.close()
    log = kept.folder / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"seq":5,"ki')
    kept.start()
    await share(kept.http, f"二 {LINK}")
    lines = [json.loads(line) for line in log.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, 9))


async def test_a_post_never_lacks_its_act(kept):
    """If a crash left a post without its entry, the next start adds the entry."""
    post = await share(kept.http)
    await kept.http.aclose()
    kept.app.simulator_state.files.close()
    (kept.folder / "log.jsonl").write_bytes(b"")
    kept.start()
    (entry,) = (await kept.http.get("/_sim/log")).json()
    assert (entry["kind"], entry["post_id"]) == ("act", post["idstr"])


async def test_a_reset_survives_a_restart(kept):
    """After a reset nothing comes back."""
    await share(kept.http)
    await kept.http.post("/_sim/reset")
    await kept.restart()
    assert (await kept.http.get("/_sim/posts")).json() == []
    assert (await kept.http.get("/_sim/log")).json() == []


# --- pages ---


async def test_the_index_lists_accounts_by_platform(sim):
    """Each account links to its page; the language can be switched."""
    await share(sim)
    await by_hand(sim, "wechat", "wx/1", title="题", text="文")
    index = await sim.get("/_sim/")
    assert "/_sim/feed/weibo/7" in index.text
    assert "微信公众号" in index.text
    assert "WeChat" in (await sim.get("/_sim/?lang=en")).text
    assert (await sim.get("/_sim/feed/wechat/wx/1")).status_code == 200
    assert (await sim.get("/_sim/feed/weibo/nobody")).status_code == 404


@pytest.mark.parametrize("platform", ["weibo", "wechat", "tieba"])
@pytest.mark.parametrize("language", ["zh", "en"])
async def test_pages_escape_what_people_wrote(sim, platform, language):
    """No script in a post, a title or a name reaches a page; the policy would forbid it as well."""
    await sim.post(
        "/_sim/accounts", json={"platform": platform, "account": "acc", "name": EVIL}
    )
    post = await by_hand(sim, platform, text=EVIL, title=EVIL, forum=EVIL)
    for path in (
        "/_sim/",
        f"/_sim/feed/{platform}/acc",
        f"/_sim/feed/{platform}/acc?post={post['id']}",
    ):
        page = await sim.get(
            path,
            params={"lang": language}
            | ({"post": post["id"]} if "post" in path else {}),
        )
        assert page.status_code == 200
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


async def test_pages_show_links_pictures_and_removals(sim):
    """A Weibo card shows where its link leads and its picture, struck through once deleted."""
    status = await share(sim, files={"pic": ("a.png", PNG, "image/png")})
    page = (await sim.get("/_sim/feed/weibo/7")).text
    assert f'href="{LINK}"' in page
    assert "网页链接" in page
    assert "/_sim/media/" in page
    assert "已删除" not in page
    await sim.request("DELETE", f"/_sim/posts/{status['idstr']}")
    assert "已删除" in (await sim.get("/_sim/feed/weibo/7")).text


async def test_an_article_shows_its_cleaned_html(sim):
    """The body is HTML with its pictures from the simulator, without forbidden parts."""
    digest = "a" * 64
    html = f'<p onclick="x()"><b>粗</b><img src="http://mmbiz.qpic.cn/mmbiz_png/{digest}/0?wx_fmt=png">{EVIL}</p>'
    post = await by_hand(sim, "wechat", title="题", html=html)
    page = (await sim.get("/_sim/feed/wechat/acc", params={"post": post["id"]})).text
    assert f'<p><b>粗</b><img src="/_sim/media/{digest}"></p>' in page


async def test_long_feeds_are_paged(sim):
    """Thirty posts a page, older ones behind a link."""
    for n in range(31):
        await by_hand(sim, "weibo", text=f"第{n}条")
    first = (await sim.get("/_sim/feed/weibo/acc")).text
    assert "第30条" in first
    assert "第0条" not in first
    assert "第0条" in (await sim.get("/_sim/feed/weibo/acc?page=2")).text


async def test_unknown_media_is_not_found(sim):
    """An unknown digest and an invalid path are a 404."""
    assert (await sim.get("/_sim/media/" + "0" * 64)).status_code == 404
    assert (await sim.get("/_sim/media/..%2Fstate.jsonl")).status_code == 404
    assert (await sim.get("/elsewhere")).status_code == 404
