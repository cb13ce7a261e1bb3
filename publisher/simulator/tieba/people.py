"""People as Tieba's answers show them."""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.world import Account, World

from .forums import level, uid


class People:
    def __init__(self, world: World) -> None:
        self.world = world

    def author(self, identity: str) -> dict[str, Any]:
        account = self.world.account("tieba", identity)
        return {
            "id": uid(account),
            "name": account.shown,
            "name_show": account.shown,
            "portrait": account.identity,
            "level_id": level(self.world, identity),
            "gender": 0,
        }

    def find(self, wanted: Mapping[str, str]) -> Account | None:
        """The account that a `uid` or a portrait names."""
        portrait = wanted.get("friend_uid_portrait") or wanted.get("portrait")
        if portrait:
            return self.world.accounts.get(("tieba", portrait))
        everybody = (each for each in self.world.accounts.values() if each.platform == "tieba")
        return next((each for each in everybody if str(uid(each)) == wanted.get("uid")), None)
