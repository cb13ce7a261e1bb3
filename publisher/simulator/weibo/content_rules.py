"""What Weibo does not want said, and what it thinks was said already (open.weibo.com wiki Error_code)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from publisher.simulator.state import SimulatedPost, SimulatorState

from .text import LINK

SAME_TEXT, SIMILAR_TEXT = 20019, 20017
IGNORED_IN_COMPARISON = re.compile(r"[#\s]+")


@dataclass(frozen=True, slots=True)
class ContentRules:
    state: SimulatorState

    def find_forbidden_code(self, text: str) -> int | None:
        """The code of the first word that may not stand in a text."""
        return next((code for word, code in self.state.behaviour.weibo_words.items() if word in text), None)

    def is_too_soon(self, account: str) -> bool:
        gap = self.state.behaviour.weibo_gap
        last = self.state.get_posts("weibo", account)[-1:]
        return bool(gap and last and self.state.now() - last[0].created < gap)

    def find_repetition_code(self, account: str, text: str) -> int | None:
        """The code for a text that stands there already, or one like it."""
        settings = self.state.behaviour
        if settings.weibo_duplicates == "off":
            return None
        wanted = self._normalize(text)
        for post in self._iter_recent_posts(account):
            said = self._normalize(str(post.extra.get("sent", "")))
            if said == wanted:
                return SAME_TEXT
            if settings.weibo_similarity and SequenceMatcher(None, said, wanted).ratio() >= settings.weibo_similarity:
                return SIMILAR_TEXT
        return None

    def _iter_recent_posts(self, account: str) -> Iterator[SimulatedPost]:
        """Standing posts of the window, newest first; one at most where only the last counts."""
        settings, now = self.state.behaviour, self.state.now()
        for post in reversed(self.state.get_posts("weibo", account)):
            if post.state == "removed":
                continue
            if now - post.created > settings.weibo_duplicate_seconds:
                return
            yield post
            if settings.weibo_duplicates == "last":
                return

    def _normalize(self, text: str) -> str:
        return (
            IGNORED_IN_COMPARISON.sub("", LINK.sub("", text))
            if self.state.behaviour.weibo_duplicate_normalise
            else text
        )
