"""The simulated platforms of a campaign: one process, used through its control endpoints."""

import json
import socket
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.faults import CREATING
from tests.chaos.publisher_process import PUBLISHER, module_command
from tests.chaos.workspace import CampaignAccount
from tests.ports import free_port
from tests.wait import wait_until

LONG_AGO = 7200.0
START_SECONDS = 30.0
SHOWN = 100


NOT_YET = 10**12
"""A number beyond any simulator log.

A request for later entries brings the log up to date, and does nothing else.
"""


@dataclass(slots=True)
class CampaignPlatforms:
    process: subprocess.Popen[bytes]
    client: httpx.Client
    state: Path
    network: subprocess.Popen[bytes] | None = None
    network_url: str | None = None

    @property
    def base_url(self) -> str:
        """The address of the platforms for publisher, behind the unreliable network if any."""
        return self.network_url or str(self.client.base_url)

    def furnish(
        self,
        accounts: Iterable[CampaignAccount],
        rules: Iterable[Mapping[str, Any]],
        *,
        accepts_repeats: bool,
    ) -> None:
        """Make the accounts, each with an older post made by hand, and add the rules for faults.

        The older post is needed, as an empty list never proves absence. The platforms' own guard
        against repetition is off: the campaign asks whether we need it. Weibo shows as many posts
        as are made here in the time of a doubt, as for an account with a few posts an hour. It also
        grants everybody the permissions of businesses. In some campaigns WeChat `accepts_repeats`:
        a draft that is submitted again, and a key that is sent again, make another post.
        """
        granted = {"*": ["biz"]}
        self._post(
            "settings",
            {
                "weibo_duplicates": "off",
                "weibo_timeline_cap": SHOWN,
                "weibo_grants": granted,
            },
        )
        if accepts_repeats:
            self._post(
                "settings", {"wechat_repeats": "accept", "wechat_consume": "finish"}
            )
        self._post("clock", {"shift": -LONG_AGO})
        for account in accounts:
            self.add_account(account)
        self._post("clock", {"shift": LONG_AGO})
        self.add_rules(rules)

    def add_account(self, account: CampaignAccount) -> None:
        """Make an account with a post made by hand."""
        known = {"platform": account.platform, "account": account.identity}
        self._post("accounts", {**known, "secret": account.secret})
        words = {"text": "本账号由公安机关运营", "title": "欢迎关注本账号"}
        self._post("posts", {**known, "forum": "演练", **words})

    def lose_next(self, account: CampaignAccount, kind: str) -> None:
        """Lose the next creating call of an account in this way."""
        rule = {
            "platform": account.platform,
            "account": account.identity,
            "nth": "every",
            "times": 1,
        }
        self.add_rules(
            [
                {
                    **rule,
                    "endpoint": CREATING[account.platform][0],
                    "fault": {"kind": kind},
                }
            ]
        )

    def add_rules(self, rules: Iterable[Mapping[str, Any]]) -> None:
        """Let more go wrong."""
        for rule in rules:
            self._post("faults", rule)

    def post_by_hand(self, account: CampaignAccount, words: str) -> None:
        """Somebody writes on the account directly."""
        self._post(
            "posts",
            {
                "platform": account.platform,
                "account": account.identity,
                "forum": "演练",
                "text": words,
            },
        )

    def log(self) -> Iterator[dict[str, Any]]:
        """Yield the log's entries from the simulator's file, as it may be too long for memory."""
        self._get("log", since=NOT_YET)
        with (self.state / "log.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)

    def posts(self) -> Iterator[dict[str, Any]]:
        """Give the posts, account by account."""
        for account in self._get("accounts"):
            yield from self._get(
                "posts", account=account["account"], platform=account["platform"]
            )

    def fired(self) -> Counter[str]:
        """How often each kind of fault has struck."""
        counted: Counter[str] = Counter()
        for rule in self._get("faults"):
            counted[rule["fault"]["kind"]] += rule["fired"]
        return counted

    def calm(self) -> None:
        """Nothing goes wrong any more."""
        self.client.delete("/_sim/faults").raise_for_status()

    def close(self) -> Counter[str]:
        """End all processes. Return how often each fault of the network occurred."""
        self.client.close()
        self.process.terminate()
        self.process.wait()
        if self.network is None:
            return Counter()
        self.network.terminate()
        self.network.wait()
        counts = self.state.parent / "network.json"
        return Counter(json.loads(counts.read_text("utf-8")) if counts.exists() else {})

    def _get(self, what: str, **parameters: str | int) -> Any:
        return (
            self.client.get(f"/_sim/{what}", params=parameters)
            .raise_for_status()
            .json()
        )

    def _post(self, what: str, body: Mapping[str, Any]) -> None:
        self.client.post(f"/_sim/{what}", json=body).raise_for_status()


def start_platforms(state: Path, seed: int, network_rate: float) -> CampaignPlatforms:
    """Start the simulator on a free port, and a network before it, and wait until both answer."""
    port = free_port()
    command = [
        *PUBLISHER,
        "simulate",
        "--listen",
        f"127.0.0.1:{port}",
        "--state",
        str(state),
    ]
    with (state.parent / "simulator.log").open("wb") as reported:
        process = subprocess.Popen(command, stdout=reported, stderr=reported)
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False
    )
    platforms = CampaignPlatforms(process, client, state)
    _await_answer(process, client)
    if network_rate:
        _put_network_before(platforms, port, seed, network_rate)
    return platforms


def _put_network_before(
    platforms: CampaignPlatforms, port: int, seed: int, rate: float
) -> None:
    door = free_port()
    counts = platforms.state.parent / "network.json"
    options = {"listen": door, "to": port, "seed": seed, "rate": rate, "counts": counts}
    words = [f"--{name}={value}" for name, value in options.items()]
    with (platforms.state.parent / "network.log").open("wb") as reported:
        network = subprocess.Popen(
            module_command("proxy", *words), stdout=reported, stderr=reported
        )
    platforms.network, platforms.network_url = network, f"http://127.0.0.1:{door}"
    wait_until(
        lambda: network.poll() is not None or _accepts(door),
        START_SECONDS,
        "the network",
    )


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _await_answer(process: subprocess.Popen[bytes], client: httpx.Client) -> None:
    def answers() -> bool:
        try:
            client.get("/_sim/accounts").raise_for_status()
        except httpx.TransportError:
            if process.poll() is not None:
                raise
            return False
        return True

    wait_until(answers, START_SECONDS, "the simulator")
