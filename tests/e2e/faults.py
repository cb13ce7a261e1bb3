"""The faults of a day, their accounts, and the simulator's configuration for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from publisher.cli.workspace import PLATFORMS, DemoAccount
from tests.simulator_process import SimulatorProcess

SHARE = "/2/statuses/share.json"
SUBMIT = "/cgi-bin/freepublish/submit"
MASS = "/cgi-bin/message/mass/sendall"
OPEN_THREAD = "/c/c/thread/add_pc"
DRAFT = "/cgi-bin/draft/add"
TRUE_LIMITS = {
    "weibo_per_hour": 30,
    "weibo_per_day": 100,
    "weibo_per_ip": 15000,
    "wechat_quotas": "platform",
    "wechat_mass_per_day": 1,
    "wechat_mass_per_month": 4,
    "wechat_review_seconds": 20,
}
HANDS = {
    "review_passes": ("wechat", 4),
    "review_refuses": ("wechat", 3),
    "review_never_ends": ("wechat", 2),
    "review_passed_by_hand": ("wechat", 2),
    "token_dies": ("wechat", 6),
    "day_used_up": ("wechat", 3),
    "mass": ("wechat", 4),
    "mass_lost": ("wechat", 1),
    "sign_in_gone": ("weibo", 3),
    "signs_in_again": ("weibo", 2),
    "hour_used_up": ("weibo", 5),
    "words_refused": ("weibo", 2),
    "server_fails": ("weibo", 3),
    "exclusive": ("weibo", 2),
    "captcha": ("tieba", 3),
    "captcha_solved": ("tieba", 2),
    "thread_reviewed": ("tieba", 3),
    "thread_refused": ("tieba", 2),
    "shared": ("tieba", 2),
}
"""Each fault's platform and number of accounts.

People post on `shared` accounts too, on `exclusive` ones never.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """The accounts of each fault, one fault each, and the others.

    The others only lose replies now and then.
    """

    by_name: Mapping[str, Sequence[DemoAccount]]
    others: Sequence[DemoAccount]

    def __getitem__(self, name: str) -> Sequence[DemoAccount]:
        return self.by_name[name]


def deal(accounts: Sequence[DemoAccount], dice: Random) -> Troubles:
    """Assign the faults to accounts."""
    decks = {
        name: [item for item in accounts if item.platform == name] for name in PLATFORMS
    }
    for deck in decks.values():
        dice.shuffle(deck)
    by_name = {
        name: [decks[platform].pop() for _ in range(number)]
        for name, (platform, number) in HANDS.items()
    }
    return Troubles(
        by_name=by_name, others=[account for deck in decks.values() for account in deck]
    )


def arrange(simulator: SimulatorProcess, troubles: Troubles) -> None:
    """Configure the simulator with the faults.

    The other accounts lose one reply in twenty creating calls.
    """

    def fault(
        name: str, endpoint: str, kind: str, nth: object = "every", **facts: object
    ) -> None:
        for account in troubles[name]:
            put(account, endpoint, {"kind": kind, **facts}, nth=nth)

    def put(
        account: DemoAccount, endpoint: str, fault: Mapping, **more: object
    ) -> None:
        where = {
            "platform": account.platform,
            "account": account.identity,
            "endpoint": endpoint,
        }
        simulator.post("/_sim/faults", {**where, **more, "fault": fault})

    simulator.post("/_sim/settings", TRUE_LIMITS)
    creating = {"weibo": SHARE, "wechat": SUBMIT, "tieba": OPEN_THREAD}
    for seed, account in enumerate(troubles.others):
        put(
            account,
            creating[account.platform],
            {"kind": "drop_after"},
            probability=0.05,
            seed=seed,
        )
    fault("review_passes", SUBMIT, "review", seconds=1500, verdict="pass")
    fault("review_refuses", SUBMIT, "review", seconds=600, verdict="refuse")
    fault("review_never_ends", SUBMIT, "review", verdict="hold")
    fault("review_passed_by_hand", SUBMIT, "review", nth=[1], verdict="hold")
    fault("token_dies", DRAFT, "expire_token", nth=[1, 4])
    fault("token_dies", SUBMIT, "expire_token", nth=[3])
    fault("day_used_up", SUBMIT, "api_error", nth=[1], code=45009)
    fault("mass_lost", MASS, "drop_after", nth=[1])
    fault("sign_in_gone", "*", "expire_token")
    fault("signs_in_again", SHARE, "expire_token", nth=[1, 2])
    fault("hour_used_up", SHARE, "api_error", nth=[1, 2], code=10023)
    fault("words_refused", SHARE, "api_error", nth=[1], code=20021)
    fault("server_fails", SHARE, "status", nth=[1], code=503)
    fault("captcha", OPEN_THREAD, "captcha")
    fault("captcha_solved", OPEN_THREAD, "captcha", nth=[1])
    fault(
        "thread_reviewed",
        OPEN_THREAD,
        "review",
        nth=[1],
        seconds=1800,
        verdict="pass",
        announce=True,
    )
    fault(
        "thread_refused",
        OPEN_THREAD,
        "review",
        nth=[1],
        seconds=1800,
        verdict="refuse",
        announce=True,
    )


def give_history(simulator: SimulatorProcess, accounts: Sequence[DemoAccount]) -> None:
    """Give each account an older post, so that its list can prove absence."""
    simulator.post("/_sim/clock", {"shift": -7200})
    for account in accounts:
        post_by_hand(simulator, account, "欢迎关注本账号")
    simulator.post("/_sim/clock", {"shift": 7200})


def post_by_hand(simulator: SimulatorProcess, account: DemoAccount, words: str) -> None:
    """Post as a person does, through the platform's own page."""
    place = {
        "platform": account.platform,
        "account": account.identity,
        "forum": account.region.forum,
    }
    simulator.post("/_sim/posts", {**place, "text": f"{words}。", "title": words})
