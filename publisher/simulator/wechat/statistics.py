"""Statistics (developers.weixin.qq.com, wedata/news): what articles came to, by days, told from 08:00 the next day.

getarticlesummary, which the platform has given up, answers as long as the settings say so.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from publisher.simulator.metrics import SimulatedMetrics, compute_metrics
from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .ids import build_article_url
from .responses import BEIJING, refuse

FIRST_STATISTICS_DAY = date(2025, 11, 1)
READY_AT = time(8)
MAX_DETAIL_DAYS = 30
"""Days of an article's life that are told."""
FROM_CHAT, FROM_FRIENDS, FROM_SEARCH = "公众号消息", "朋友圈", "搜一搜"
StatisticsRow = dict[str, Any]
DateRange = tuple[date, date]


class StatisticsApi:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def make_endpoints(self) -> Mapping[str, Callable[[ApiRequest], ApiResponse]]:
        return {
            "/datacube/getarticletotaldetail": self._show_details,
            "/datacube/getarticlesummary": self._show_old_summary,
        }

    def _show_details(self, request: ApiRequest) -> ApiResponse:
        """Articles published in the range, each with what it had come to by the end of each day."""
        asked = self._parse_range(request)
        if isinstance(asked, int):
            return refuse(request, asked)
        is_late = asked[1] > self._get_newest_day()
        return ApiResponse.from_json(
            {"list": list(self._iter_article_totals(request.account, asked)), "is_delay": is_late}
        )

    def _show_old_summary(self, request: ApiRequest) -> ApiResponse:
        """What articles gained on one day."""
        if not self.state.behaviour.wechat_old_statistics:
            return refuse(request, 45103)
        asked = self._parse_range(request)
        if not isinstance(asked, int) and asked[0] != asked[1]:
            asked = 61501
        if isinstance(asked, int):
            return refuse(request, asked)
        return ApiResponse.from_json({"list": list(self._iter_daily_gains(request.account, asked))})

    def _parse_range(self, request: ApiRequest) -> DateRange | int:
        """The days asked for, yesterday at the latest; else an error code."""
        wanted = request.parse_json() or {}
        try:
            begin, end = (date.fromisoformat(str(wanted.get(name) or "")) for name in ("begin_date", "end_date"))
        except ValueError:
            return 61500
        return (begin, end) if FIRST_STATISTICS_DAY <= begin <= end < self._now().date() else 61501

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.state.now(), BEIJING)

    def _get_newest_day(self) -> date:
        """The last day that can be told by now."""
        now = self._now()
        is_early = now.time() < READY_AT or self.state.behaviour.wechat_is_delay
        return now.date() - timedelta(days=2 if is_early else 1)

    def _iter_articles(self, account: str) -> Iterable[tuple[SimulatedPost, int, StatisticsRow]]:
        """What ever was public, article by article; texts and bare pictures have no statistics."""
        for post in self.state.get_posts("wechat", account):
            is_article = post.extra.get("mass", {}).get("kind", "mpnews") == "mpnews"
            if is_article and post.state in ("live", "removed"):
                for index, article in enumerate(post.extra["articles"], 1):
                    yield post, index, article

    def _iter_days(self, post: SimulatedPost, asked: DateRange) -> Iterable[date]:
        """The days in the range of which something can be told."""
        day = max(asked[0], _get_publish_day(post))
        while day <= min(
            asked[1], self._get_newest_day(), _get_publish_day(post) + timedelta(days=MAX_DETAIL_DAYS - 1)
        ):
            yield day
            day += timedelta(days=1)

    def _iter_article_totals(self, account: str, asked: DateRange) -> Iterable[StatisticsRow]:
        for post, index, article in self._iter_articles(account):
            if asked[0] <= _get_publish_day(post) <= asked[1]:
                yield {
                    "ref_date": _get_publish_day(post).isoformat(),
                    "msgid": _get_statistics_id(post, index),
                    "publish_type": 0 if "mass" in post.extra else 1,
                    "title": article["title"],
                    "content_url": build_article_url(post.account, post.extra["publish_id"], index),
                    "detail_list": [
                        _format_detail(post, day) for day in self._iter_days(post, (_get_publish_day(post), date.max))
                    ],
                }

    def _iter_daily_gains(self, account: str, asked: DateRange) -> Iterable[StatisticsRow]:
        for post, index, article in self._iter_articles(account):
            for day in self._iter_days(post, asked):
                head = {
                    "ref_date": day.isoformat(),
                    "msgid": _get_statistics_id(post, index),
                    "title": article["title"],
                }
                yield head | _format_old_summary(_compute_metrics_on(post, day))


def _get_publish_day(post: SimulatedPost) -> date:
    return datetime.fromtimestamp(post.created, BEIJING).date()


def _get_statistics_id(post: SimulatedPost, index: int) -> str:
    return f"{post.extra['publish_id']}_{index}"


def _compute_metrics_until(post: SimulatedPost, day: date) -> SimulatedMetrics:
    """What a post had come to when that day ended."""
    return compute_metrics(post, datetime.combine(day + timedelta(days=1), time(), BEIJING).timestamp())


def _compute_metrics_on(post: SimulatedPost, day: date) -> SimulatedMetrics:
    """What a post gained on that day."""
    after, before = _compute_metrics_until(post, day), _compute_metrics_until(post, day - timedelta(days=1))
    return SimulatedMetrics(
        reads=after.reads - before.reads,
        reposts=after.reposts - before.reposts,
        comments=after.comments - before.comments,
        likes=after.likes - before.likes,
    )


def _format_reader_sources(reads: int) -> list[StatisticsRow]:
    """By where readers came from; the first of them takes what the others leave."""
    others = {FROM_FRIENDS: reads // 4, FROM_SEARCH: reads // 20}
    told = {FROM_CHAT: reads - sum(others.values()), **others}
    return [{"user_count": count, "scene_desc": scene} for scene, count in told.items()]


def _format_detail(post: SimulatedPost, day: date) -> StatisticsRow:
    reach = _compute_metrics_until(post, day)
    return {
        "stat_date": day.isoformat(),
        "read_user": reach.reads,
        "read_user_source": _format_reader_sources(reach.reads),
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


def _format_old_summary(metrics: SimulatedMetrics) -> StatisticsRow:
    return {
        "int_page_read_user": metrics.reads,
        "int_page_read_count": metrics.reads * 5 // 4,
        "ori_page_read_user": metrics.reads // 50,
        "ori_page_read_count": metrics.reads // 40,
        "share_user": metrics.reposts,
        "share_count": metrics.reposts * 5 // 4,
        "add_to_fav_user": metrics.reposts // 2,
        "add_to_fav_count": metrics.reposts // 2,
    }
