"""Users as Tieba's responses show them."""

from collections.abc import Mapping
from typing import Any

from publisher.simulator.state import SimulatedAccount, SimulatorState

from .forums import get_level, get_uid


class TiebaUsers:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def format_author(self, identity: str) -> dict[str, Any]:
        account = self.state.ensure_account("tieba", identity)
        return {
            "id": get_uid(account),
            "name": account.display_name,
            "name_show": account.display_name,
            "portrait": account.identity,
            "level_id": get_level(self.state, identity),
            "gender": 0,
        }

    def find(self, wanted: Mapping[str, str]) -> SimulatedAccount | None:
        """Return the account that a `uid` or a portrait names."""
        portrait = wanted.get("friend_uid_portrait") or wanted.get("portrait")
        if portrait:
            return self.state.accounts.get(("tieba", portrait))
        accounts = (each for each in self.state.accounts.values() if each.platform == "tieba")
        return next((each for each in accounts if str(get_uid(each)) == wanted.get("uid")), None)
