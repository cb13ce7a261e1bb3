"""Statistics (developers.weixin.qq.com, wedata/news): what articles came to, by days, told from 08:00 the next day.

getarticlesummary, which the platform has given up, answers as long as the settings say so.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from publisher.simulator.call import Answer, Call
from publisher.simulator.reach import Reach, reach_of
from publisher.simulator.world import Post, World

from .answers import BEIJING, refuse
from .ids import article_url

FIRST_DAY = date(2025, 11, 1)
READY_AT = time(8)
LONGEST = 30
"""Days of an article's life that are told."""
FROM_CHAT, FROM_FRIENDS, FROM_SEARCH = "公众号消息", "朋友圈", "搜一搜"
Line = dict[str, Any]
Range = tuple[date, date]


class Statistics:
    def __init__(self, world: World) -> None:
        self.world = world

    def endpoints(self) -> Mapping[str, Callable[[Call], Answer]]:
        return {
            "/datacube/getarticletotaldetail": self._details,
            "/datacube/getarticlesummary": self._old_summary,
        }

    def _details(self, call: Call) -> Answer:
        """Articles published in the range, each with what it had come to by the end of each day."""
        asked = self._range(call)
        if isinstance(asked, int):
            return refuse(call, asked)
        is_late = asked[1] > self._newest()
        return Answer.of({"list": list(self._lives(call.account, asked)), "is_delay": is_late})

    def _old_summary(self, call: Call) -> Answer:
        """What articles gained on one day."""
        if not self.world.settings.wechat_old_statistics:
            return refuse(call, 45103)
        asked = self._range(call)
        if not isinstance(asked, int) and asked[0] != asked[1]:
            asked = 61501
        if isinstance(asked, int):
            return refuse(call, asked)
        return Answer.of({"list": list(self._gains(call.account, asked))})

    def _range(self, call: Call) -> Range | int:
        """The days asked for, yesterday at the latest; else an error code."""
        wanted = call.json() or {}
        try:
            begin, end = (date.fromisoformat(str(wanted.get(name) or "")) for name in ("begin_date", "end_date"))
        except ValueError:
            return 61500
        return (begin, end) if FIRST_DAY <= begin <= end < self._now().date() else 61501

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.world.now(), BEIJING)

    def _newest(self) -> date:
        """The last day that can be told by now."""
        now = self._now()
        is_early = now.time() < READY_AT or self.world.settings.wechat_is_delay
        return now.date() - timedelta(days=2 if is_early else 1)

    def _articles(self, account: str) -> Iterable[tuple[Post, int, Line]]:
        """What ever was public, article by article; texts and bare pictures have no statistics."""
        for post in self.world.of("wechat", account):
            is_article = post.extra.get("mass", {}).get("kind", "mpnews") == "mpnews"
            if is_article and post.state in ("live", "removed"):
                for index, article in enumerate(post.extra["articles"], 1):
                    yield post, index, article

    def _days(self, post: Post, asked: Range) -> Iterable[date]:
        """The days in the range of which something can be told."""
        day = max(asked[0], _day(post))
        while day <= min(asked[1], self._newest(), _day(post) + timedelta(days=LONGEST - 1)):
            yield day
            day += timedelta(days=1)

    def _lives(self, account: str, asked: Range) -> Iterable[Line]:
        for post, index, article in self._articles(account):
            if asked[0] <= _day(post) <= asked[1]:
                yield {
                    "ref_date": _day(post).isoformat(),
                    "msgid": _name(post, index),
                    "publish_type": 0 if "mass" in post.extra else 1,
                    "title": article["title"],
                    "content_url": article_url(post.account, post.extra["publish_id"], index),
                    "detail_list": [_detail(post, day) for day in self._days(post, (_day(post), date.max))],
                }

    def _gains(self, account: str, asked: Range) -> Iterable[Line]:
        for post, index, article in self._articles(account):
            for day in self._days(post, asked):
                head = {"ref_date": day.isoformat(), "msgid": _name(post, index), "title": article["title"]}
                yield head | _old_figures(_on(post, day))


def _day(post: Post) -> date:
    return datetime.fromtimestamp(post.created, BEIJING).date()


def _name(post: Post, index: int) -> str:
    return f"{post.extra['publish_id']}_{index}"


def _by(post: Post, day: date) -> Reach:
    """What a post had come to when that day ended."""
    return reach_of(post, datetime.combine(day + timedelta(days=1), time(), BEIJING).timestamp())


def _on(post: Post, day: date) -> Reach:
    """What a post gained on that day."""
    after, before = _by(post, day), _by(post, day - timedelta(days=1))
    return Reach(
        reads=after.reads - before.reads,
        reposts=after.reposts - before.reposts,
        comments=after.comments - before.comments,
        likes=after.likes - before.likes,
    )


def _sources(reads: int) -> list[Line]:
    """By where readers came from; the first of them takes what the others leave."""
    others = {FROM_FRIENDS: reads // 4, FROM_SEARCH: reads // 20}
    told = {FROM_CHAT: reads - sum(others.values()), **others}
    return [{"user_count": count, "scene_desc": scene} for scene, count in told.items()]


def _detail(post: Post, day: date) -> Line:
    reach = _by(post, day)
    return {
        "stat_date": day.isoformat(),
        "read_user": reach.reads,
        "read_user_source": _sources(reach.reads),
        "share_user": reach.reposts,
        "zaikan_user": reach.likes // 2,
        "like_user": reach.likes,
        "comment_count": reach.comments,
        "collection_user": reach.reposts // 2,
        "praise_money": 0,
        "read_subscribe_user": reach.reads * 3 // 4,
        "read_delivery_rate": 0.12,
        "read_finish_rate": 0.61,
        "read_avg_activetime": 0.8,
        "read_jump_position": [{"position": position, "rate": 0.2} for position in range(1, 6)],
    }


def _old_figures(reach: Reach) -> Line:
    return {
        "int_page_read_user": reach.reads,
        "int_page_read_count": reach.reads * 5 // 4,
        "ori_page_read_user": reach.reads // 50,
        "ori_page_read_count": reach.reads // 40,
        "share_user": reach.reposts,
        "share_count": reach.reposts * 5 // 4,
        "add_to_fav_user": reach.reposts // 2,
        "add_to_fav_count": reach.reposts // 2,
    }
