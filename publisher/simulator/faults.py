"""Fault rules: the calls that go wrong, and how.

The fields of each kind besides `kind`, all optional (defaults in parentheses):

drop_before, drop_after     none; the connection is reset
delay                       seconds (1); acts at once and responds late, with `when: before` it
                            waits and then acts
act_late                    seconds (5); resets now, acts later
drip                        bytes_per_second (1), complete (false: the last byte never comes)
truncate                    bytes (half of the body)
html, status                code (200 for html, 503 for status), headers, body, acts (false)
api_error                   code, message, acts (false, true for codes that mean done)
captcha, duplicate          code, message, acts (false)
expire_token                none; on WeChat the token is invalid from then on, elsewhere only
                            this call is refused
bad_json, no_id             none; the call acts
wrong_account               to: the identity named instead; the call acts
list_late                   seconds (60); on a creating call: listed later, on a list: the
                            newest posts are missing
review                      seconds (60), verdict (pass, refuse, hold), status (WeChat's number
                            for a refusal), announce (respond with the platform's own code:
                            Tieba 230008, Weibo 20053)
rewrite                     how (spaces), characters (30) and ending (…) of an excerpt, or torn
                            (false): it ends in half an emoji; on a list: only the shown text
empty_list                  none; on lists, with the same count on Weibo
gone                        none; on reads that name a post, and on WeChat's lists: a live post
                            is reported as deleted
reorder                     how (reverse, twice, again); on lists
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

Fault = Mapping[str, Any]
"""`{"kind": …}` and the fields of that kind."""

TRANSPORT_KINDS = ("drop_before", "drop_after", "delay", "act_late", "drip", "truncate")
READING_KINDS = ("bad_json", "no_id", "wrong_account", "empty_list", "gone", "reorder")
POST_KINDS = ("list_late", "review", "rewrite")
REFUSAL_KINDS = ("status", "html", "api_error", "captcha", "duplicate", "expire_token")
"""Faults that replace the platform's own response."""
FAULT_KINDS = frozenset((*TRANSPORT_KINDS, *READING_KINDS, *POST_KINDS, *REFUSAL_KINDS))
LINK_TAIL = " 网页链接 "
EXCERPT_CHARACTERS, EXCERPT_ENDING = 30, "…"
HALF_EMOJI = "\ud83d"
FIELDS_BESIDE_TEXT = frozenset({"url_objects", "annotations"})
"""Fields that an excerpt omits."""


def cut_excerpt(
    text: str, characters: int = EXCERPT_CHARACTERS, ending: str = EXCERPT_ENDING
) -> str:
    """Return the first characters of a text, and the ending if something was cut off."""
    return text if len(text) <= characters else text[:characters] + ending


REWRITES: dict[str, Callable[[str], str]] = {
    "spaces": lambda text: re.sub(r"\s+", " ", text).strip(),
    "emoji": lambda text: "".join(
        each for each in text if ord(each) < 0x1F000 and each not in "\ufe0f\u200d"
    ),
    "tail": lambda text: text and text + LINK_TAIL,
    "punctuation": lambda text: text.translate(str.maketrans(",!?：，", "，！？:,")),
    "width": lambda text: unicodedata.normalize("NFKC", text),
    "short": lambda text: text[: max(len(text) // 2, 1)],
    "garble": lambda text: text[::-1],
    "excerpt": cut_excerpt,
}


def rewrite(fault: Mapping[str, Any], text: str) -> str:
    """Return the text as the platform changes it; raises KeyError for an unknown `how`."""
    how = str(fault.get("how", "spaces"))
    if how != "excerpt":
        return REWRITES[how](text)
    characters = fault.get("characters", EXCERPT_CHARACTERS)
    ending = HALF_EMOJI if fault.get("torn") else fault.get("ending", EXCERPT_ENDING)
    return cut_excerpt(text, int(characters), str(ending))


REORDERINGS: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "reverse": lambda items: list(items[::-1]),
    "twice": lambda items: [item for item in items for _ in range(2)],
    "again": lambda items: [*items, *items],
}
"""The order of a list: oldest first, each item twice in a row, or the list a second time.

The second time follows the list's end.
"""


@dataclass(slots=True)
class FaultRule:
    id: str
    spec: Mapping[str, Any]
    fault: Fault
    match_count: int = 0
    fire_count: int = 0

    def should_fire(self, platform: str, account: str, endpoint: str) -> bool:
        pattern = self.spec.get("endpoint")
        if (
            self.spec.get("platform") not in (None, "", "*", platform)
            or self.spec.get("account") not in (None, "", "*", account)
            or not (pattern in (None, "", "*") or fnmatchcase(endpoint, str(pattern)))
        ):
            return False
        self.match_count += 1
        nth = self.spec.get("nth") or "every"
        if nth != "every" and self.match_count not in (
            nth if isinstance(nth, list) else [nth]
        ):
            return False
        times = self.spec.get("times")
        if times is not None and self.fire_count >= times:
            return False
        probability = self.spec.get("probability")
        if (
            probability is not None
        ):  # a number below 1 that depends only on the seed and the count
            digest = hashlib.sha256(
                f"{self.spec.get('seed', 0)}/{self.match_count}".encode()
            ).digest()
            if int.from_bytes(digest[:8], "big") / 2**64 >= probability:
                return False
        self.fire_count += 1
        return True

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            **self.spec,
            "seen": self.match_count,
            "fired": self.fire_count,
        }


class FaultRules:
    """The active rules; each call asks once."""

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self._numbers = count(1)

    def add(self, spec: Mapping[str, Any]) -> str:
        """Add a rule and return its id; raises ValueError for an invalid one."""
        fault = spec.get("fault")
        if not isinstance(fault, dict) or fault.get("kind") not in FAULT_KINDS:
            raise ValueError(
                "fault.kind must be one of " + ", ".join(sorted(FAULT_KINDS))
            )
        if fault["kind"] == "rewrite" and fault.get("how", "spaces") not in REWRITES:
            raise ValueError("fault.how must be one of " + ", ".join(REWRITES))
        if (
            fault["kind"] == "reorder"
            and fault.get("how", "reverse") not in REORDERINGS
        ):
            raise ValueError("fault.how must be one of " + ", ".join(REORDERINGS))
        if (
            fault["kind"] == "api_error"
            and not str(fault.get("code")).removeprefix("-").isdecimal()
        ):
            raise ValueError("fault.code must be the number of an error")
        rule = FaultRule(f"f{next(self._numbers)}", dict(spec), fault)
        self.rules.append(rule)
        return rule.id

    def collect_faults(
        self, platform: str, account: str, endpoint: str
    ) -> tuple[Fault, ...]:
        if not self.rules:
            return ()
        return tuple(
            rule.fault
            for rule in self.rules
            if rule.should_fire(platform, account, endpoint)
        )

    def clear(self) -> int:
        cleared = len(self.rules)
        self.rules.clear()
        return cleared
