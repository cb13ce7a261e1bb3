"""Control calls of the demo to the simulator."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from publisher.cli.demo.workspace import CALLBACK_SIGNING_KEY, DemoAccount
from publisher.domain.delivery import Delivery
from publisher.domain.rendered import derive_marker

HOUR_SECONDS = 3600
REQUEST_TIMEOUT_SECONDS = 20


@dataclass(slots=True, kw_only=True)
class SimulatedPlatforms:
    """The simulator at an address. `external_ids` are the posts that were there before."""

    base_url: str
    external_ids: set[str] = field(default_factory=set)

    def create_accounts(self, accounts: Sequence[DemoAccount]) -> dict[str, Mapping[str, str]]:
        """Create the accounts, each with an older post as if by a person; return their secrets by account id."""
        secrets = {
            account.id: self._request(
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
        self._request("POST", "/_sim/clock", {"shift": -HOUR_SECONDS})
        for account in accounts:
            older = {
                "platform": account.platform,
                "account": account.identity,
                "title": f"{account.region.name}民警进社区",
                "text": f"今天，{account.region.name}民警走进社区，和居民聊反诈、讲案例。",
            }
            self.external_ids.add(self._request("POST", "/_sim/posts", older)["id"])
        self._request("POST", "/_sim/clock", {"shift": HOUR_SECONDS})
        return secrets

    def register_callbacks(self, accounts: Sequence[DemoAccount], listen: str) -> bool:
        """Register the callback URLs of WeChat accounts. WeChat tries them at once: False while nothing answers."""
        wechat_accounts = [account for account in accounts if account.platform == "wechat"]
        return all(
            self._request(
                "POST",
                "/_sim/callbacks",
                {
                    "account": account.identity,
                    "url": f"http://{listen}/callback/wechat/{account.id}",
                    "token": CALLBACK_SIGNING_KEY,
                },
            ).get("ok")
            for account in wechat_accounts
        )

    def count_posts(self, deliveries: Sequence[Delivery], accounts: Mapping[str, DemoAccount]) -> "PostCounts":
        """Count the published posts of each delivery, and those that belong to no delivery."""
        posts = [post for post in self._request("GET", "/_sim/posts") if post["id"] not in self.external_ids]
        texts_by_account: dict[tuple[str, str], list[str]] = {}
        for post in posts:
            if post["visible"] and not post["removed"]:
                text = "\n".join(str(post[part]) for part in ("title", "text", "html"))
                texts_by_account.setdefault((post["platform"], post["account"]), []).append(text)
        counts: Counter[int] = Counter()
        for delivery in deliveries:
            account = accounts[delivery.account]
            marker = derive_marker(delivery.key, delivery.account)
            texts = texts_by_account.get((account.platform, account.identity), [])
            counts[delivery.id] = sum(map(marker.is_in, texts))
        return PostCounts(by_delivery=counts, unexplained=len(posts) - counts.total())

    def _request(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 # any JSON value
        connection = HTTPConnection(urlsplit(self.base_url).netloc, timeout=REQUEST_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostCounts:
    """The number of published posts of each delivery; `unexplained` posts belong to none."""

    by_delivery: Mapping[int, int]
    unexplained: int

    @property
    def are_all_single(self) -> bool:
        """True if every delivery is published exactly once, and nothing else is."""
        return self.unexplained == 0 and all(number == 1 for number in self.by_delivery.values())
