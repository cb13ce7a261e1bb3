"""The faults of the platforms in a campaign, drawn by the seed. All the simulator's kinds occur."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

CREATING = {
    "weibo": (
        "/2/statuses/share.json",
        "/2/statuses/update/biz.json",
        "/2/statuses/upload_url_text/biz.json",
    ),
    "wechat": ("/cgi-bin/freepublish/submit", "/cgi-bin/message/mass/sendall"),
    "tieba": ("/c/c/thread/add_pc",),
}
READING = {
    "weibo": ("/2/statuses/user_timeline*", "/2/statuses/show.json"),
    "wechat": (
        "/cgi-bin/freepublish/batchget",
        "/cgi-bin/freepublish/get",
        "/cgi-bin/draft/*",
        "/cgi-bin/message/mass/get",
    ),
    "tieba": ("/c/u/feed/*", "/c/f/*"),
}
HAS_REVIEW = ("weibo", "tieba")
ACT_LATE, LIST_LATE = 1.6, 1.2
"""Seconds; both together stay within the visibility window, as declared delays must."""
HIDDEN_REVIEW = 5
"""Seconds: longer than Weibo's visibility window; with ACT_LATE shorter than its longest review."""
SLOW_LIST = 9
"""Seconds: WeChat's list may be later than any visibility window, as a lost draft is proof."""
SLOWER = 2.5
"""Seconds: later than any call's deadline."""
RETRY_AFTER = 3
"""Wait in seconds after every 429 of a campaign. The judge compares the next call with it."""
BUSY = {"weibo": 20014, "wechat": 45011, "tieba": 2230204}
REFUSED = {"weibo": 20020, "wechat": 45003, "tieba": 232000}
UNLISTED = 987654

Fault = Mapping[str, Any]
TOO_MANY: Fault = {
    "kind": "status",
    "code": 429,
    "headers": {"Retry-After": str(RETRY_AFTER)},
}
LOST: Sequence[tuple[float, Fault]] = (
    (6, {"kind": "drop_after"}),
    (4, {"kind": "drop_before"}),
    (3, {"kind": "act_late", "seconds": ACT_LATE}),
)
"""The faults of a creating call's lost reply, with their weights."""
ODD: Sequence[tuple[float, Fault]] = (
    (2, {"kind": "delay", "seconds": SLOWER}),
    (1, {"kind": "drip", "bytes_per_second": 20}),
    (1, {"kind": "truncate"}),
    (1, {"kind": "html", "acts": True}),
    (1, {"kind": "html"}),
    (1, {"kind": "bad_json"}),
    (1, {"kind": "no_id"}),
    (2, {"kind": "status", "code": 502, "acts": True}),
    (1, {"kind": "status", "code": 500}),
    (6, TOO_MANY),
    (4, {"kind": "expire_token"}),
    (2, {"kind": "list_late", "seconds": LIST_LATE}),
    (1, {"kind": "rewrite", "how": "spaces"}),
    (1, {"kind": "rewrite", "how": "tail"}),
)
"""Answers that leave a doubt, or cost a wait; none of them may cost a post."""
STOPPING: Sequence[Fault] = (
    {"kind": "captcha"},
    {"kind": "wrong_account"},
    {"kind": "duplicate"},
    {"kind": "duplicate", "acts": True},
    {"kind": "api_error", "refused": True},
)
"""Faults that cost a post or a person's work, as often as the campaign can afford."""
MISREADINGS: Sequence[tuple[float, Fault]] = (
    (2, {"kind": "drop_before"}),
    (1, {"kind": "status", "code": 503}),
    (1, {"kind": "bad_json"}),
    (1, {"kind": "truncate"}),
    (1, {"kind": "delay", "seconds": SLOWER}),
    (6, {"kind": "empty_list"}),
    (2, {"kind": "reorder"}),
    (1, {"kind": "reorder", "how": "twice"}),
    (1, {"kind": "reorder", "how": "again"}),
    (2, {"kind": "list_late", "seconds": LIST_LATE}),
    (1, {"kind": "gone"}),
)
LISTS = {
    "weibo": "/2/statuses/user_timeline*",
    "wechat": "/cgi-bin/freepublish/batchget",
    "tieba": "/c/u/feed/*",
}
BLANKS, BLANK_SHARE = 6, 0.3
"""Number of empty lists in a row, and the share of a rough campaign's accounts that show them."""
EXCERPTS, EXCERPT_SHARE = 12, 0.3
"""Number of lists in a row with only the first characters of texts, and the share of accounts.

They occur in rough campaigns.
"""
ENDINGS = ("…", "...全文", "")
CROWDS, CROWD_SHARE = 8, 0.6
"""Most first creating calls that are one too many, and the share of accounts in rough campaigns.

Every other such call is refused. A post that may only go out right away meets that too, and must
end as expired instead of waiting.
"""
PROVOCATIONS: Mapping[str, tuple[str, Fault]] = {
    "token.after_refresh": ("wechat", {"kind": "expire_token"}),
    "reconcile.before_read": ("weibo", {"kind": "drop_after"}),
    "reconcile.after_read": ("weibo", {"kind": "drop_after"}),
    "reconcile.before_commit": ("weibo", {"kind": "drop_after"}),
}
"""The fault of a creating call that leads to a failpoint, and the platform for it."""
READ_SHARE = 1.0
"""So often reads go wrong, compared with creating calls."""
OFTEN = 0.12
PER_STOP = 400
"""Deliveries for each time that one of the stopping faults strikes."""


def rules(
    dice: Random, share: float, deliveries: int, *, lost_only: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield the simulator's rules: `share` of all creating calls fails, in weighted proportion."""
    kinds = LOST if lost_only else (*LOST, *ODD)
    total = sum(weight for weight, _fault in kinds)
    for platform, endpoints in CREATING.items():
        for weight, fault in kinds:
            yield from _each(dice, platform, endpoints, fault, share * weight / total)
    if not lost_only and share:
        yield from _own_errors(dice, share / 20)
        yield from _stops(dice, deliveries)
        yield from _reads(dice, share * READ_SHARE)


def _each(
    dice: Random,
    platform: str,
    endpoints: Sequence[str],
    fault: Fault,
    probability: float,
) -> Iterator[dict[str, Any]]:
    for endpoint in endpoints:
        yield {
            "platform": platform,
            "endpoint": endpoint,
            "nth": "every",
            "probability": probability,
            "seed": dice.getrandbits(32),
            "fault": fault,
        }


def _own_errors(dice: Random, probability: float) -> Iterator[dict[str, Any]]:
    """Yield errors in the platform's own shape, and short reviews.

    The errors ask to come back later, or have a number that nobody has listed.
    """
    for platform, endpoints in CREATING.items():
        for code in (BUSY[platform], UNLISTED):
            yield from _each(
                dice,
                platform,
                endpoints,
                {"kind": "api_error", "code": code},
                probability,
            )
    slow = {"kind": "list_late", "seconds": SLOW_LIST}
    yield from _each(dice, "wechat", CREATING["wechat"], slow, probability * 20)
    for platform in HAS_REVIEW:
        fault = {"kind": "review", "seconds": 1, "verdict": "pass"}
        yield from _each(dice, platform, CREATING[platform], fault, probability)
    yield from _hidden_reviews(dice, probability * 4)


def _hidden_reviews(dice: Random, probability: float) -> Iterator[dict[str, Any]]:
    """Yield Weibo calls with a lost reply and a long review that hides the post, both together."""
    review = {"kind": "review", "seconds": HIDDEN_REVIEW, "verdict": "pass"}
    for rule in _each(dice, "weibo", CREATING["weibo"], review, probability):
        yield rule
        yield {**rule, "fault": {"kind": "drop_after"}}


def _stops(dice: Random, deliveries: int) -> Iterator[dict[str, Any]]:
    times = max(1, deliveries // PER_STOP // len(STOPPING))
    probability = min(OFTEN, 20 * times / deliveries)
    for platform, fault in (
        (platform, fault) for platform in ("weibo", "wechat") for fault in STOPPING
    ):
        if fault.get("kind") == "wrong_account" and platform != "weibo":
            continue  # the others name nobody in this answer
        own = (
            {"kind": "api_error", "code": REFUSED[platform]}
            if fault.get("refused")
            else fault
        )
        for rule in _each(dice, platform, CREATING[platform], own, probability):
            yield {**rule, "times": times}


def blanks(
    dice: Random, accounts: Iterable[tuple[str, str]], share: float
) -> Iterator[dict[str, Any]]:
    """Yield rules that let an account show nothing for a while.

    An account is named by platform and identity.
    """
    for platform, identity in accounts:
        if dice.random() < min(share, BLANK_SHARE):
            rule = {
                "platform": platform,
                "account": identity,
                "endpoint": LISTS[platform],
                "nth": "every",
            }
            yield {**rule, "times": BLANKS, "fault": {"kind": "empty_list"}}


def excerpts(
    dice: Random, accounts: Iterable[tuple[str, str]], share: float
) -> Iterator[dict[str, Any]]:
    """Yield rules that let an account's lists show short texts for a while.

    An account is named by platform and identity.
    """
    for platform, identity in accounts:
        if dice.random() < min(2 * share, EXCERPT_SHARE):
            cut = {"characters": dice.randint(20, 28), "ending": dice.choice(ENDINGS)}
            rule = {
                "platform": platform,
                "account": identity,
                "endpoint": LISTS[platform],
                "nth": "every",
            }
            yield {
                **rule,
                "times": EXCERPTS,
                "fault": {"kind": "rewrite", "how": "excerpt", **cut},
            }


def crowds(
    dice: Random, accounts: Iterable[tuple[str, str]], share: float
) -> Iterator[dict[str, Any]]:
    """Yield rules that let an account wait again and again at first.

    An account is named by platform and identity.
    """
    for platform, identity in accounts:
        if dice.random() < min(2 * share, CROWD_SHARE):
            for rule in _each(dice, platform, CREATING[platform], TOO_MANY, 0.5):
                yield {**rule, "account": identity, "times": CROWDS}


def provocation(point: str) -> Iterator[dict[str, Any]]:
    """Yield the rules that lead to the failpoint soon, or none where ordinary work passes it."""
    if point in PROVOCATIONS:
        platform, fault = PROVOCATIONS[point]
        for endpoint in CREATING[platform]:
            yield {
                "platform": platform,
                "endpoint": endpoint,
                "nth": "every",
                "times": 1,
                "fault": fault,
            }


def _reads(dice: Random, share: float) -> Iterator[dict[str, Any]]:
    total = sum(weight for weight, _fault in MISREADINGS)
    for platform, endpoints in READING.items():
        for weight, fault in MISREADINGS:
            yield from _each(dice, platform, endpoints, fault, share * weight / total)
