"""Rules that decide which calls go wrong, and how.

What each kind takes besides `kind`, all of it optional:

drop_before, drop_after     nothing; the connection is reset
delay                       seconds (1); acts at once and answers late, with `when: before` it waits and then acts
act_late                    seconds (5); reset now, act then
drip                        bytes_per_second (1), complete (false: the last byte never comes)
truncate                    bytes (half of the body)
html, status                code, headers, body, type, acts (false); html is 200, status is 503 by default
api_error                   code, message, acts (false, but true for codes that mean done)
captcha, duplicate          code, message, acts (false)
expire_token                nothing; on WeChat the token is dead from then on, elsewhere this call is refused
bad_json, no_id             nothing; the call acts
wrong_account               to: the identity named instead; the call acts
list_late                   seconds (60); on a creating call: listed that much later, on a list: the newest are missing
review                      seconds (60), verdict (pass, refuse, hold), status (WeChat's number for a refusal),
                            announce (Tieba: answer 230008)
rewrite                     how (spaces), characters (30) and ending (…) of an excerpt; on a list: only what it shows
empty_list                  nothing; on lists
gone                        nothing; on reads that name a post, and on WeChat's lists: what is live is called deleted
reorder                     how (reverse, twice, again); on lists; see rewriting.py for both
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from .text_changes import REORDERINGS, REWRITES

Fault = Mapping[str, Any]
"""`{"kind": …}` and what that kind needs."""

TRANSPORT_KINDS = ("drop_before", "drop_after", "delay", "act_late", "drip", "truncate")
READING_KINDS = ("bad_json", "no_id", "wrong_account", "empty_list", "gone", "reorder")
POST_KINDS = ("list_late", "review", "rewrite")
REFUSAL_KINDS = ("status", "html", "api_error", "captcha", "duplicate", "expire_token")
"""Faults that stand in place of the platform's own answer."""
FAULT_KINDS = frozenset((*TRANSPORT_KINDS, *READING_KINDS, *POST_KINDS, *REFUSAL_KINDS))


@dataclass(slots=True)
class FaultRule:
    id: str
    spec: Mapping[str, Any]
    fault: Fault
    match_count: int = 0
    fire_count: int = 0

    def should_fire(self, platform: str, account: str, endpoint: str) -> bool:
        if not self._applies_to(platform, account, endpoint):
            return False
        self.match_count += 1
        nth = self.spec.get("nth") or "every"
        if nth != "every" and self.match_count not in (nth if isinstance(nth, list) else [nth]):
            return False
        times = self.spec.get("times")
        if times is not None and self.fire_count >= times:
            return False
        chance = self.spec.get("probability")
        if chance is not None and self._draw() >= chance:
            return False
        self.fire_count += 1
        return True

    def _draw(self) -> float:
        """A number below 1 that depends on the seed and on how often was asked, on nothing else."""
        thrown = hashlib.sha256(f"{self.spec.get('seed', 0)}/{self.match_count}".encode()).digest()
        return int.from_bytes(thrown[:8], "big") / 2**64

    def _applies_to(self, platform: str, account: str, endpoint: str) -> bool:
        wanted = (self.spec.get("platform"), self.spec.get("account"), self.spec.get("endpoint"))
        return (
            wanted[0] in (None, "", "*", platform)
            and wanted[1] in (None, "", "*", account)
            and (wanted[2] in (None, "", "*") or fnmatchcase(endpoint, str(wanted[2])))
        )

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, **self.spec, "seen": self.match_count, "fired": self.fire_count}


def _is_number(code: object) -> bool:
    return str(code).removeprefix("-").isdecimal()


class FaultRules:
    """The rules in force; each call asks once."""

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self._numbers = count(1)

    def add(self, spec: Mapping[str, Any]) -> str:
        """Take a rule; ValueError names what is wrong with it."""
        fault = spec.get("fault")
        if not isinstance(fault, dict) or fault.get("kind") not in FAULT_KINDS:
            raise ValueError("fault.kind must be one of " + ", ".join(sorted(FAULT_KINDS)))
        if fault["kind"] == "rewrite" and fault.get("how", "spaces") not in REWRITES:
            raise ValueError("fault.how must be one of " + ", ".join(REWRITES))
        if fault["kind"] == "reorder" and fault.get("how", "reverse") not in REORDERINGS:
            raise ValueError("fault.how must be one of " + ", ".join(REORDERINGS))
        if fault["kind"] == "api_error" and not _is_number(fault.get("code")):
            raise ValueError("fault.code must be the number of an error")
        rule = FaultRule(f"f{next(self._numbers)}", dict(spec), fault)
        self.rules.append(rule)
        return rule.id

    def collect_faults(self, platform: str, account: str, endpoint: str) -> tuple[Fault, ...]:
        if not self.rules:
            return ()
        return tuple(rule.fault for rule in self.rules if rule.should_fire(platform, account, endpoint))

    def clear(self) -> int:
        gone = len(self.rules)
        self.rules.clear()
        return gone
