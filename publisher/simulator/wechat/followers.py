"""Followers and their tags, and the audience of a mass send.

The sources are developers.weixin.qq.com, user/tag and Batch_Sends.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatedPost, SimulatorState

from .responses import BEIJING, OK_BODY, make_open_id, refuse

OPEN_ID_LENGTH = 28
FOLLOWER_COUNT = 1000
MAX_OPEN_IDS = 10_000
STARRED_TAG_ID, FIRST_TAG_ID = 2, 100
MAX_TAG_NAME_BYTES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class MassAudience:
    """The intended receivers of a mass send; `key` distinguishes audiences of one kind."""

    kind: Literal["all", "tag", "list"]
    key: str
    count: int


def parse_filter(
    state: SimulatorState, request: ApiRequest, fields: Mapping[str, Any]
) -> MassAudience | int:
    """Return the audience of `sendall`: all followers, or only some by tag; else an error code."""
    chosen = fields.get("filter")
    if not isinstance(chosen, dict):
        return 40035
    if chosen.get("is_to_all") is True:
        return MassAudience(kind="all", key="", count=FOLLOWER_COUNT)
    tag = _get_tags(state, request.account).get(str(chosen.get("tag_id")))
    if tag is None:
        return 45159
    return MassAudience(
        kind="tag", key=str(chosen["tag_id"]), count=len(tag["members"])
    )


def parse_open_ids(fields: Mapping[str, Any]) -> MassAudience | int:
    """Return the audience of `send`, two to ten thousand open ids; else an error code."""
    names = fields.get("touser")
    if not isinstance(names, list) or not 2 <= len(names) <= MAX_OPEN_IDS:
        return 40130
    if not all(isinstance(name, str) and len(name) == OPEN_ID_LENGTH for name in names):
        return 40003
    return MassAudience(
        kind="list", key=",".join(sorted(set(names))), count=len(set(names))
    )


def count_receivers(
    state: SimulatorState, account: str, audience: MassAudience
) -> int | None:
    """Return how many receivers a mass send still reaches this month.

    Return None if the account may not send now.
    """
    settings = state.behaviour
    if not settings.wechat_mass_per_day and not settings.wechat_mass_per_month:
        return audience.count
    month = [
        post
        for post in state.get_posts("wechat", account)
        if "mass" in post.extra and _is_in_window(state, post, "%Y-%m")
    ]
    if settings.wechat_kind == "subscription" or audience.kind == "all":
        counted = [
            post
            for post in month
            if settings.wechat_kind == "subscription" or _is_to_all(post)
        ]
        today = [post for post in counted if _is_in_window(state, post, "%Y-%m-%d")]
        if settings.wechat_mass_per_day and len(today) >= settings.wechat_mass_per_day:
            return None
    if settings.wechat_kind == "subscription" or not settings.wechat_mass_per_month:
        return audience.count
    same = (audience.kind, audience.key)
    reached = [
        post
        for post in month
        if _is_to_all(post)
        or (post.extra["mass"]["audience"], post.extra["mass"]["who"]) == same
    ]
    if len(reached) < settings.wechat_mass_per_month:
        return audience.count
    return None if audience.kind == "all" else 0


def _is_in_window(state: SimulatorState, post: SimulatedPost, window: str) -> bool:
    moments = (
        datetime.fromtimestamp(at, BEIJING).strftime(window)
        for at in (post.created, state.now())
    )
    return len(set(moments)) == 1


def _get_tags(state: SimulatorState, account: str) -> dict[str, dict[str, Any]]:
    tags = state.get_row("wechat_tags", account)
    return tags or {
        str(STARRED_TAG_ID): {"id": STARRED_TAG_ID, "name": "星标组", "members": []}
    }


def list_tags(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    tags = _get_tags(state, request.account).values()
    return ApiResponse.from_json(
        {
            "tags": [
                {"id": tag["id"], "name": tag["name"], "count": len(tag["members"])}
                for tag in tags
            ]
        }
    )


def create_tag(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    tag, tags = request.get_json("tag"), _get_tags(state, request.account)
    name = str(tag.get("name") or "") if isinstance(tag, dict) else ""
    if (
        not name
        or len(name.encode()) > MAX_TAG_NAME_BYTES
        or name in {each["name"] for each in tags.values()}
    ):
        return refuse(request, 45157)
    number = max([FIRST_TAG_ID - 1, *(each["id"] for each in tags.values())]) + 1
    tag = {"id": number, "name": name, "members": []}
    state.put_row("wechat_tags", request.account, {**tags, str(number): tag})
    return ApiResponse.from_json({"tag": {"id": number, "name": name}})


def tag_members(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    fields = request.parse_json() or {}
    number = str(fields.get("tagid"))
    names = fields.get("openid_list")
    tags = _get_tags(state, request.account)
    if number not in tags:
        return refuse(request, 45159)
    if not isinstance(names, list) or not all(
        isinstance(name, str) and len(name) == OPEN_ID_LENGTH for name in names
    ):
        return refuse(request, 40003)
    members = list(dict.fromkeys([*tags[number]["members"], *names]))
    state.put_row(
        "wechat_tags",
        request.account,
        {**tags, number: {**tags[number], "members": members}},
    )
    return ApiResponse.from_json(OK_BODY)


def list_followers(_state: SimulatorState, request: ApiRequest) -> ApiResponse:
    names = [make_open_id(request.account, number) for number in range(FOLLOWER_COUNT)]
    return ApiResponse.from_json(
        {
            "total": len(names),
            "count": len(names),
            "data": {"openid": names},
            "next_openid": names[-1],
        }
    )


def _is_to_all(post: SimulatedPost) -> bool:
    return bool(post.extra["mass"]["audience"] == "all")
