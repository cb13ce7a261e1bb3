"""Followers and their tags (developers.weixin.qq.com, user/tag), and whom a mass send reaches (Batch_Sends)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import Post, World

from .answers import BEIJING, OK, refuse
from .ids import open_id

OPEN_ID = 28
MOST_OPEN_IDS = 10_000
STARRED, FIRST_TAG = 2, 100
TAG_NAME_BYTES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Who shall receive a mass send; `who` tells audiences of one kind apart."""

    kind: Literal["all", "tag", "list"]
    who: str
    count: int


class Followers:
    def __init__(self, world: World) -> None:
        self.world = world

    def named(self, call: Call, wanted: Mapping[str, Any]) -> Audience | int:
        """The audience of `sendall`: all, or those with a tag; else an error code."""
        chosen = wanted.get("filter")
        if not isinstance(chosen, dict):
            return 40035
        if chosen.get("is_to_all") is True:
            return Audience(kind="all", who="", count=self.world.settings.wechat_followers)
        tag = self._tags(call.account).get(str(chosen.get("tag_id")))
        if tag is None:
            return 45159
        return Audience(kind="tag", who=str(chosen["tag_id"]), count=len(tag["members"]))

    def listed(self, wanted: Mapping[str, Any]) -> Audience | int:
        """The audience of `send`: two to ten thousand followers by name."""
        names = wanted.get("touser")
        if not isinstance(names, list) or not 2 <= len(names) <= MOST_OPEN_IDS:
            return 40130
        if not all(isinstance(name, str) and len(name) == OPEN_ID for name in names):
            return 40003
        return Audience(kind="list", who=",".join(sorted(set(names))), count=len(set(names)))

    def receivers(self, account: str, audience: Audience) -> int | None:
        """How many of them still may receive one this month; None when the account may not send at all now."""
        settings = self.world.settings
        if not settings.wechat_mass_per_day and not settings.wechat_mass_per_month:
            return audience.count
        month = [post for post in self.world.of("wechat", account) if "mass" in post.extra and self._is(post, "%Y-%m")]
        if settings.wechat_kind == "subscription" or audience.kind == "all":
            counted = [post for post in month if settings.wechat_kind == "subscription" or _to_all(post)]
            today = [post for post in counted if self._is(post, "%Y-%m-%d")]
            if settings.wechat_mass_per_day and len(today) >= settings.wechat_mass_per_day:
                return None
        if settings.wechat_kind == "subscription" or not settings.wechat_mass_per_month:
            return audience.count
        reached = [post for post in month if _to_all(post) or _same(post, audience)]
        if len(reached) < settings.wechat_mass_per_month:
            return audience.count
        return None if audience.kind == "all" else 0

    def _is(self, post: Post, window: str) -> bool:
        moments = (datetime.fromtimestamp(at, BEIJING).strftime(window) for at in (post.created, self.world.now()))
        return len(set(moments)) == 1

    # --- tags ---

    def _tags(self, account: str) -> dict[str, dict[str, Any]]:
        kept = self.world.get("wechat_tags", account)
        return kept or {str(STARRED): {"id": STARRED, "name": "星标组", "members": []}}

    def tags(self, call: Call) -> Answer:
        tags = self._tags(call.account).values()
        return Answer.of(
            {"tags": [{"id": tag["id"], "name": tag["name"], "count": len(tag["members"])} for tag in tags]}
        )

    def create_tag(self, call: Call) -> Answer:
        tag, tags = (call.json() or {}).get("tag"), self._tags(call.account)
        name = str(tag.get("name") or "") if isinstance(tag, dict) else ""
        if not name or len(name.encode()) > TAG_NAME_BYTES or name in {each["name"] for each in tags.values()}:
            return refuse(call, 45157)
        number = max([FIRST_TAG - 1, *(each["id"] for each in tags.values())]) + 1
        made = {"id": number, "name": name, "members": []}
        self.world.put("wechat_tags", call.account, {**tags, str(number): made})
        return Answer.of({"tag": {"id": number, "name": name}})

    def tag_members(self, call: Call) -> Answer:
        wanted = call.json() or {}
        number, names, tags = str(wanted.get("tagid")), wanted.get("openid_list"), self._tags(call.account)
        if number not in tags:
            return refuse(call, 45159)
        if not isinstance(names, list) or not all(isinstance(name, str) and len(name) == OPEN_ID for name in names):
            return refuse(call, 40003)
        members = list(dict.fromkeys([*tags[number]["members"], *names]))
        self.world.put("wechat_tags", call.account, {**tags, number: {**tags[number], "members": members}})
        return Answer.of(OK)

    def followers(self, call: Call) -> Answer:
        """The names of the account's followers, at most ten thousand of them."""
        total = self.world.settings.wechat_followers
        names = [open_id(call.account, number) for number in range(min(total, MOST_OPEN_IDS))]
        last = names[-1] if names else ""
        return Answer.of({"total": total, "count": len(names), "data": {"openid": names}, "next_openid": last})


def _to_all(post: Post) -> bool:
    return bool(post.extra["mass"]["audience"] == "all")


def _same(post: Post, audience: Audience) -> bool:
    return (post.extra["mass"]["audience"], post.extra["mass"]["who"]) == (audience.kind, audience.who)
