"""How far articles have come, as WeChat's statistics tell it. Pure.

Source: developers.weixin.qq.com, getarticletotaldetail, read 2026-11-24: asked for a day of publishing, up to
yesterday; each line of an article sums up all days from its publishing on. Figures are ready about 08:00 the next day.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from publisher.contract import Call, Reply
from publisher.domain.outcome import Reach, Receipt
from publisher.domain.quota import BEIJING

from .mass import read_mass_id
from .wire import Trouble, post_json, read_answer, text_of

_NOTICED_LATE = timedelta(hours=1)
"""So long after its publishing an article may have been noticed, perhaps only the next day."""


def days_to_ask(receipts: Iterable[Receipt], now: datetime) -> tuple[date, ...]:
    """Give the days in Beijing on which these posts were published, as far as statistics go by now."""
    instants = [at for item in receipts for at in (item.live_at, item.live_at - _NOTICED_LATE)]
    today = _day(now)
    return tuple(sorted({_day(at) for at in instants if _day(at) < today}))


def encode_reach(base: str, token: str, day: date) -> Call:
    """Ask for all articles published on one day."""
    body = {"begin_date": day.isoformat(), "end_date": day.isoformat()}
    return post_json(base, "getarticletotaldetail", token, body, under="datacube")


def decode_reach(reply: Reply) -> Mapping[str, Reach] | Trouble:
    """Read the figures by the statistics' own name for an article."""
    return read_answer(reply, lambda answer: dict(_article(item) for item in answer["list"] if item["detail_list"]))


def name_of(receipt: Receipt) -> str | None:
    """Give the name under which statistics know a post: its message's number and place; None when it cannot be told."""
    mass = read_mass_id(receipt.remote_id)
    if mass is not None:
        return f"{mass.data_id}_1" if mass.data_id else None
    query = parse_qs(urlsplit(receipt.url).query)
    return f"{query['mid'][0]}_{query['idx'][0]}" if {"mid", "idx"} <= query.keys() else None


def _article(item: Mapping[str, Any]) -> tuple[str, Reach]:
    newest = max(item["detail_list"], key=lambda line: str(line["stat_date"]))
    reach = Reach(
        reads=_figure(newest, "read_user"),
        reposts=_figure(newest, "share_user"),
        comments=_figure(newest, "comment_count"),
        likes=_figure(newest, "like_user"),
        url=str(item.get("content_url") or "") or None,
    )
    return text_of(item, "msgid"), reach


def _figure(line: Mapping[str, Any], name: str) -> int | None:
    value = line.get(name)
    return None if value is None else int(value)


def _day(instant: datetime) -> date:
    return instant.astimezone(BEIJING).date()
