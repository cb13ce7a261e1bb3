"""Forbidden words, and the detection of repeated texts (open.weibo.com wiki Error_code)."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

from publisher.simulator.state import SimulatorState

from .text import LINK

SAME_TEXT, SIMILAR_TEXT = 20019, 20017
IGNORED_IN_COMPARISON = re.compile(r"[#\s]+")


@dataclass(frozen=True, slots=True)
class ContentRules:
    state: SimulatorState

    def find_forbidden_code(self, text: str) -> int | None:
        """Return the error code of the first forbidden word in a text."""
        return next((code for word, code in self.state.behaviour.weibo_words.items() if word in text), None)

    def is_too_soon(self, account: str) -> bool:
        gap = self.state.behaviour.weibo_gap
        last = self.state.get_posts("weibo", account)[-1:]
        return bool(gap and last and self.state.now() - last[0].created < gap)

    def find_repetition_code(self, account: str, text: str) -> int | None:
        """Return the error code if a recent post has the same or a similar text."""
        settings = self.state.behaviour
        if settings.weibo_duplicates == "off":
            return None
        new, now = self._normalize(text), self.state.now()
        recent = [post for post in reversed(self.state.get_posts("weibo", account)) if post.state != "removed"]
        for post in recent[:1] if settings.weibo_duplicates == "last" else recent:
            if now - post.created > settings.weibo_duplicate_seconds:
                return None
            earlier = self._normalize(str(post.extra.get("sent", "")))
            if earlier == new:
                return SAME_TEXT
            if settings.weibo_similarity and SequenceMatcher(None, earlier, new).ratio() >= settings.weibo_similarity:
                return SIMILAR_TEXT
        return None

    def _normalize(self, text: str) -> str:
        if not self.state.behaviour.weibo_duplicate_normalise:
            return text
        return IGNORED_IN_COMPARISON.sub("", LINK.sub("", text))
