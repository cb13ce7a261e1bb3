"""What Weibo does not want said, and what it thinks was said already (open.weibo.com wiki Error_code)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from publisher.simulator.world import Post, World

from .text import LINK

SAME, SIMILAR = 20019, 20017
UNCOMPARED = re.compile(r"[#\s]+")


@dataclass(frozen=True, slots=True)
class Likeness:
    world: World

    def forbidden(self, text: str) -> int | None:
        """The code of the first word that may not stand in a text."""
        return next((code for word, code in self.world.settings.weibo_words.items() if word in text), None)

    def is_too_soon(self, account: str) -> bool:
        gap = self.world.settings.weibo_gap
        last = self.world.of("weibo", account)[-1:]
        return bool(gap and last and self.world.now() - last[0].created < gap)

    def repetition(self, account: str, text: str) -> int | None:
        """The code for a text that stands there already, or one like it."""
        settings = self.world.settings
        if settings.weibo_duplicates == "off":
            return None
        wanted = self._compared(text)
        for post in self._earlier(account):
            said = self._compared(str(post.extra.get("sent", "")))
            if said == wanted:
                return SAME
            if settings.weibo_similarity and SequenceMatcher(None, said, wanted).ratio() >= settings.weibo_similarity:
                return SIMILAR
        return None

    def _earlier(self, account: str) -> Iterator[Post]:
        """Standing posts of the window, newest first; one at most where only the last counts."""
        settings, now = self.world.settings, self.world.now()
        for post in reversed(self.world.of("weibo", account)):
            if post.state == "removed":
                continue
            if now - post.created > settings.weibo_duplicate_seconds:
                return
            yield post
            if settings.weibo_duplicates == "last":
                return

    def _compared(self, text: str) -> str:
        return UNCOMPARED.sub("", LINK.sub("", text)) if self.world.settings.weibo_duplicate_normalise else text
