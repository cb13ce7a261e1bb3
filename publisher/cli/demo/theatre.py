"""The simulator, as the demonstration steers and reads it."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from publisher.cli.demo.drill import SIGNED_WITH, DrillAccount
from publisher.domain.delivery import Delivery
from publisher.domain.rendition import marker_for

HOUR = 3600
PATIENCE = 20
"""Seconds that one control call may take."""


@dataclass(slots=True, kw_only=True)
class Theatre:
    """The simulator at an address. `by_hand` are the posts that were there before."""

    address: str
    by_hand: set[str] = field(default_factory=set)

    def furnish(self, accounts: Sequence[DrillAccount]) -> dict[str, Mapping[str, str]]:
        """Name the accounts and give each an older post, as if a person had made it. Returns their secrets by id."""
        secrets = {
            account.id: self._ask(
                "POST",
                "/_sim/accounts",
                {
                    "platform": account.platform,
                    "account": account.identity,
                    "name": account.region.agency,
                    "forums": [account.region.forum],
                },
            )
            for account in accounts
        }
        self._ask("POST", "/_sim/clock", {"shift": -HOUR})
        for account in accounts:
            older = {
                "platform": account.platform,
                "account": account.identity,
                "title": f"{account.region.name}民警进社区",
                "text": f"今天，{account.region.name}民警走进社区，和居民聊反诈、讲案例。",
            }
            self.by_hand.add(self._ask("POST", "/_sim/posts", older)["id"])
        self._ask("POST", "/_sim/clock", {"shift": HOUR})
        return secrets

    def introduce(self, accounts: Sequence[DrillAccount], listen: str) -> bool:
        """Tell WeChat where its accounts listen; it tries that at once, so False as long as nobody answers there."""
        tellers = [account for account in accounts if account.platform == "wechat"]
        return all(
            self._ask(
                "POST",
                "/_sim/callbacks",
                {
                    "account": account.identity,
                    "url": f"http://{listen}/callback/wechat/{account.id}",
                    "token": SIGNED_WITH,
                },
            ).get("ok")
            for account in tellers
        )

    def copies(self, deliveries: Sequence[Delivery], accounts: Mapping[str, DrillAccount]) -> "Copies":
        """Count how often each delivery stands on its account, and what stands there without one."""
        posts = [post for post in self._ask("GET", "/_sim/posts") if post["id"] not in self.by_hand]
        live = [post for post in posts if post["visible"] and not post["removed"]]
        of_account: dict[tuple[str, str], list[str]] = {}
        for post in live:
            words = "\n".join(str(post[part]) for part in ("title", "text", "html"))
            of_account.setdefault((post["platform"], post["account"]), []).append(words)
        counts: Counter[int] = Counter()
        for delivery in deliveries:
            account = accounts[delivery.account]
            marker = marker_for(delivery.key, delivery.account)
            found = of_account.get((account.platform, account.identity), [])
            counts[delivery.id] = sum(marker.is_in(words) for words in found)
        return Copies(of_delivery=counts, unexplained=len(posts) - counts.total())

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 # any JSON value
        connection = HTTPConnection(urlsplit(self.address).netloc, timeout=PATIENCE)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """How often each delivery is live; `unexplained` posts belong to none."""

    of_delivery: Mapping[int, int]
    unexplained: int

    @property
    def are_single(self) -> bool:
        """Whether every delivery stands there exactly once, and nothing else does."""
        return self.unexplained == 0 and all(number == 1 for number in self.of_delivery.values())
