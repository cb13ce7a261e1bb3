"""WeChat's metrics and the contents of its list."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from publisher.domain.results import ObservedPost, Reach, Receipt, Unknown
from tests.adapters.fakes_wechat import LINK, NOW, WeChatScene, error, item, other, page

STATISTICS = "datacube/getarticletotaldetail"
MORNING = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
ARTICLE = Receipt(
    remote_id="A1",
    url="http://mp.weixin.qq.com/s?__biz=x&mid=265&idx=1&sn=z",
    published_at=MORNING,
)
MASS = Receipt(
    remote_id="mass-314-245", url="", published_at=MORNING + timedelta(days=1)
)


@pytest.fixture
def scene():
    made = WeChatScene()
    made.works()
    return made


def _figures(**reads):
    lines = [
        {
            "msgid": name.removeprefix("m"),
            "detail_list": [{"stat_date": "2026-11-24", "read_user": number}],
        }
        for name, number in reads.items()
    ]
    return {"list": lines, "is_delay": False}


async def test_metrics_are_read_by_the_day_of_publishing(scene):
    """Each day is requested once, and an article or mass send is found by its message's id."""
    scene.answers(STATISTICS, _figures(m265_1=40, m999_1=7), _figures(m245_1=3000))
    other_one = Receipt(
        remote_id="A2",
        url="http://mp.weixin.qq.com/s?mid=266&idx=1",
        published_at=MORNING,
    )
    reach = await scene.adapter.read_metrics([ARTICLE, other_one, MASS])
    assert reach == {"A1": Reach(reads=40), "mass-314-245": Reach(reads=3000)}
    assert [body["begin_date"] for body in scene.bodies(STATISTICS)] == [
        "2026-11-23",
        "2026-11-24",
    ]


async def test_statistics_contain_the_address_of_a_mass_send(scene):
    """No other call has its address; an empty one is none."""
    figures = _figures(m245_1=3000, m265_1=1)
    figures["list"][0]["content_url"] = "http://mp.weixin.qq.com/s?mid=245&idx=1"
    figures["list"][1]["content_url"] = ""
    scene.answers(STATISTICS, figures)
    reach = await scene.adapter.read_metrics([MASS, ARTICLE])
    assert {name: one.url for name, one in reach.items()} == {
        "mass-314-245": "http://mp.weixin.qq.com/s?mid=245&idx=1",
        "A1": None,
    }


@pytest.mark.parametrize(
    ("live_at", "days"),
    [
        (
            datetime(2026, 11, 22, 16, 30, tzinfo=UTC),
            ["2026-11-22", "2026-11-23"],
        ),  # noticed at half past midnight
        (datetime(2026, 11, 24, 15, 59, tzinfo=UTC), ["2026-11-24"]),
        (NOW, []),
    ],
)
async def test_the_days_are_those_of_beijing(scene, live_at, days):
    """Days are Beijing's, and today has no figures yet.

    A post found after midnight may be yesterday's.
    """
    scene.answers(STATISTICS, _figures())
    receipt = Receipt(remote_id="A1", url=ARTICLE.url, published_at=live_at)
    assert await scene.adapter.read_metrics([receipt]) == {}
    assert [body["begin_date"] for body in scene.bodies(STATISTICS)] == days


@pytest.mark.parametrize(
    "receipt",
    [
        Receipt(remote_id="mass-314", url="", published_at=MORNING),
        Receipt(
            remote_id="A1", url="http://mp.weixin.qq.com/s/short", published_at=MORNING
        ),
    ],
)
async def test_a_post_without_a_known_number_is_left_out(scene, receipt):
    """Where the message's id is not known, no metrics are returned."""
    scene.answers(STATISTICS, _figures(m265_1=40))
    assert await scene.adapter.read_metrics([receipt]) == {}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(48001), "wechat_48001"),
        (error(61503), "wechat_61503"),
        (httpx.Response(502), "server_error"),
        ({"is_delay": True}, "wechat_incomplete"),
        (
            {
                "list": [
                    {
                        "msgid": "265_1",
                        "detail_list": [
                            {"stat_date": "2026-11-23", "read_user": "many"}
                        ],
                    }
                ]
            },
            "wechat_incomplete",
        ),
    ],
)
async def test_figures_that_cannot_be_read(scene, answer, reason):
    """Where the statistics cannot be read, no metrics are returned."""
    scene.answers(STATISTICS, answer)
    assert await scene.adapter.read_metrics([ARTICLE]) == Unknown(reason=reason)


async def test_recent_shows_what_is_published(scene):
    """The list's first page is returned newest first, each id once.

    Deleted articles are left out.
    """
    old = NOW - timedelta(days=1)
    twice = item("A3", at=old)
    twice["content"]["news_item"] *= 2
    scene.answers(
        "freepublish/batchget",
        page(twice, item("A2", is_deleted=True), item("A1"), total=40),
    )
    seen = await scene.adapter.list_recent()
    first = ObservedPost(
        remote_id="A1",
        url="http://mp.weixin.qq.com/s?mid=A1",
        published_at=NOW,
        text=f"警惕“退款客服”诈骗\n冒充客服退款的骗局近期多发\n{LINK}",
    )
    assert seen[0] == first
    assert [(sighting.remote_id, sighting.published_at) for sighting in seen] == [
        ("A1", NOW),
        ("A3", old),
    ]
    assert len(scene.asked("freepublish/batchget")) == 1


async def test_an_account_without_articles(scene):
    """An empty list is an account without articles."""
    assert await scene.adapter.list_recent() == ()


async def test_a_list_that_cannot_be_read_shows_nothing_f52(scene):
    """F52: an unreadable list is reported as such."""
    scene.answers("freepublish/batchget", page(other("A1")), httpx.Response(502))
    assert len(await scene.adapter.list_recent()) == 1
    assert await scene.adapter.list_recent() == Unknown(reason="server_error")
