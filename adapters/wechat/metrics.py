"""How far articles have come, as WeChat's statistics tell it. Pure.

Source: developers.weixin.qq.com, getarticletotaldetail, read 2026-11-24: asked for a day of publishing, up to
yesterday; each line of an article sums up all days from its publishing on. Figures are ready about 08:00 the next day.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from publisher.contract import HttpRequest, HttpResponse
from publisher.domain.rate_limit import BEIJING
from publisher.domain.results import Reach, Receipt

from .api import ErrorResponse, build_json_request, decode_response, get_text
from .mass_api import parse_mass_send_id

_MAX_NOTICE_DELAY = timedelta(hours=1)
"""So long after its publishing an article may have been noticed, perhaps only the next day."""


def get_days_to_query(receipts: Iterable[Receipt], now: datetime) -> tuple[date, ...]:
    """Give the days in Beijing on which these posts were published, as far as statistics go by now."""
    instants = [at for item in receipts for at in (item.published_at, item.published_at - _MAX_NOTICE_DELAY)]
    today = _to_beijing_day(now)
    return tuple(sorted({_to_beijing_day(at) for at in instants if _to_beijing_day(at) < today}))


def encode_reach(base: str, token: str, day: date) -> HttpRequest:
    """Ask for all articles published on one day."""
    body = {"begin_date": day.isoformat(), "end_date": day.isoformat()}
    return build_json_request(base, "getarticletotaldetail", token, body, path_prefix="datacube")


def decode_reach(response: HttpResponse) -> Mapping[str, Reach] | ErrorResponse:
    """Read the figures by the statistics' own name for an article."""
    return decode_response(
        response, lambda answer: dict(_parse_article(item) for item in answer["list"] if item["detail_list"])
    )


def get_statistics_id(receipt: Receipt) -> str | None:
    """Give the name under which statistics know a post: its message's number and place; None when it cannot be told."""
    mass = parse_mass_send_id(receipt.remote_id)
    if mass is not None:
        return f"{mass.data_id}_1" if mass.data_id else None
    query = parse_qs(urlsplit(receipt.url).query)
    return f"{query['mid'][0]}_{query['idx'][0]}" if {"mid", "idx"} <= query.keys() else None


def _parse_article(item: Mapping[str, Any]) -> tuple[str, Reach]:
    newest = max(item["detail_list"], key=lambda line: str(line["stat_date"]))
    reach = Reach(
        reads=_parse_count(newest, "read_user"),
        reposts=_parse_count(newest, "share_user"),
        comments=_parse_count(newest, "comment_count"),
        likes=_parse_count(newest, "like_user"),
        url=str(item.get("content_url") or "") or None,
    )
    return get_text(item, "msgid"), reach


def _parse_count(line: Mapping[str, Any], name: str) -> int | None:
    value = line.get(name)
    return None if value is None else int(value)


def _to_beijing_day(instant: datetime) -> date:
    return instant.astimezone(BEIJING).date()
