"""Statistics of articles by day (developers.weixin.qq.com, wedata/news).

The metrics are ready from 08:00 the next day. The platform has given up getarticlesummary; wechatpy
still calls it.
"""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Any

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import (
    SimulatedMetrics,
    SimulatedPost,
    SimulatorState,
    compute_metrics,
)

from .responses import BEIJING, build_article_url, refuse

FIRST_STATISTICS_DAY = date(2025, 11, 1)
READY_AT = time(8)
MAX_DETAIL_DAYS = 30
"""Statistics cover this many days after an article's publication."""
FROM_CHAT, FROM_FRIENDS, FROM_SEARCH = "公众号消息", "朋友圈", "搜一搜"
StatisticsRow = dict[str, Any]
DateRange = tuple[date, date]


def show_details(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """List the articles published in the range, each with its totals at the end of each day."""
    days = _parse_range(state, request)
    if isinstance(days, int):
        return refuse(request, days)
    entries = [
        {
            "ref_date": published.isoformat(),
            "msgid": f"{post.extra['publish_id']}_{index}",
            "publish_type": 0 if "mass" in post.extra else 1,
            "title": article["title"],
            "content_url": build_article_url(
                post.account, post.extra["publish_id"], index
            ),
            "detail_list": [
                _format_detail(post, day)
                for day in _iter_days(state, post, (published, date.max))
            ],
        }
        for post, index, article in _iter_articles(state, request.account)
        if days[0] <= (published := _get_publish_day(post)) <= days[1]
    ]
    return ApiResponse.from_json(
        {"list": entries, "is_delay": days[1] > _get_newest_day(state)}
    )


def show_old_summary(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """List each article's gains on one day."""
    days = _parse_range(state, request)
    if isinstance(days, int):
        return refuse(request, days)
    if days[0] != days[1]:
        return refuse(request, 61501)
    entries = []
    for post, index, article in _iter_articles(state, request.account):
        for day in _iter_days(state, post, days):
            total = _compute_metrics_until(post, day)
            before = _compute_metrics_until(post, day - timedelta(days=1))
            reads, reposts = total.reads - before.reads, total.reposts - before.reposts
            entries.append(
                {
                    "ref_date": day.isoformat(),
                    "msgid": f"{post.extra['publish_id']}_{index}",
                    "title": article["title"],
                    "int_page_read_user": reads,
                    "int_page_read_count": reads * 5 // 4,
                    "ori_page_read_user": reads // 50,
                    "ori_page_read_count": reads // 40,
                    "share_user": reposts,
                    "share_count": reposts * 5 // 4,
                    "add_to_fav_user": reposts // 2,
                    "add_to_fav_count": reposts // 2,
                }
            )
    return ApiResponse.from_json({"list": entries})


def _parse_range(state: SimulatorState, request: ApiRequest) -> DateRange | int:
    """Return the requested days, ending yesterday at the latest; else an error code."""
    fields = request.parse_json() or {}
    try:
        begin, end = (
            date.fromisoformat(str(fields.get(name) or ""))
            for name in ("begin_date", "end_date")
        )
    except ValueError:
        return 61500
    return (
        (begin, end)
        if FIRST_STATISTICS_DAY <= begin <= end < _now(state).date()
        else 61501
    )


def _now(state: SimulatorState) -> datetime:
    return datetime.fromtimestamp(state.now(), BEIJING)


def _get_newest_day(state: SimulatorState) -> date:
    """Return the last day with ready statistics."""
    now = _now(state)
    return now.date() - timedelta(days=2 if now.time() < READY_AT else 1)


def _iter_articles(
    state: SimulatorState, account: str
) -> Iterable[tuple[SimulatedPost, int, StatisticsRow]]:
    """Yield each article that was ever public; texts have no statistics."""
    for post in state.get_posts("wechat", account):
        is_article = post.extra.get("mass", {}).get("kind", "mpnews") == "mpnews"
        if is_article and post.state in ("live", "removed"):
            for index, article in enumerate(post.extra["articles"], 1):
                yield post, index, article


def _iter_days(
    state: SimulatorState, post: SimulatedPost, days: DateRange
) -> Iterable[date]:
    """Yield the days of the range that have statistics."""
    published = _get_publish_day(post)
    last = min(
        days[1], _get_newest_day(state), published + timedelta(days=MAX_DETAIL_DAYS - 1)
    )
    day = max(days[0], published)
    while day <= last:
        yield day
        day += timedelta(days=1)


def _get_publish_day(post: SimulatedPost) -> date:
    return datetime.fromtimestamp(post.created, BEIJING).date()


def _compute_metrics_until(post: SimulatedPost, day: date) -> SimulatedMetrics:
    """Return the totals of a post at the end of a day."""
    return compute_metrics(
        post, datetime.combine(day + timedelta(days=1), time(), BEIJING).timestamp()
    )


def _format_detail(post: SimulatedPost, day: date) -> StatisticsRow:
    metrics = _compute_metrics_until(post, day)
    from_friends, from_search = metrics.reads // 4, metrics.reads // 20
    sources = {
        FROM_CHAT: metrics.reads - from_friends - from_search,
        FROM_FRIENDS: from_friends,
        FROM_SEARCH: from_search,
    }
    return {
        "stat_date": day.isoformat(),
        "read_user": metrics.reads,
        "read_user_source": [
            {"user_count": count, "scene_desc": scene}
            for scene, count in sources.items()
        ],
        "share_user": metrics.reposts,
        "zaikan_user": metrics.likes // 2,
        "like_user": metrics.likes,
        "comment_count": metrics.comments,
        "collection_user": metrics.reposts // 2,
        "praise_money": 0,
        "read_subscribe_user": metrics.reads * 3 // 4,
        "read_delivery_rate": 0.12,
        "read_finish_rate": 0.61,
        "read_avg_activetime": 0.8,
        "read_jump_position": [
            {"position": position, "rate": 0.2} for position in range(1, 6)
        ],
    }
