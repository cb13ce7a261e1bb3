"""Parsing of the markup for pictures in a text."""

import re
from typing import Any

from publisher.simulator.state import SimulatorState

PICTURE_MARKUP = re.compile(r"#\(pic,([0-9]+),([0-9]+),([0-9]+)\)")
PICTURE_HOST = "http://tiebapic.baidu.com/forum/pic/item"

Piece = dict[str, Any]


class MarkupParser:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state

    def parse(self, text: str) -> list[Piece]:
        """Return the pieces of a text in order: type 0 is text, 3 a picture."""
        pieces: list[Piece] = []
        end = 0
        for match in PICTURE_MARKUP.finditer(text):
            pieces += _parse_text(text[end : match.start()])
            pieces.append(self._parse_picture(match))
            end = match.end()
        return pieces + _parse_text(text[end:])

    def get_picture_digests(self, text: str) -> list[str]:
        """Return the digests of a text's pictures."""
        names = [match.group(1) for match in PICTURE_MARKUP.finditer(text)]
        return [found["sha256"] for name in names if (found := self.state.get_row("tieba_pictures", name))]

    def _parse_picture(self, match: re.Match[str]) -> Piece:
        found = self.state.get_row("tieba_pictures", match.group(1)) or {"sha256": ""}
        source = f"{PICTURE_HOST}/{found['sha256']}.jpg"
        return {
            "type": 3,
            "src": source,
            "cdn_src": source,
            "big_cdn_src": source,
            "origin_src": source,
            "origin_size": len(self.state.read_media(found["sha256"]) or b""),
            "bsize": f"{match.group(2)},{match.group(3)}",
            "pic_id": match.group(1),
        }


def _parse_text(text: str) -> list[Piece]:
    stripped = text.strip("\r\n")
    return [{"type": 0, "text": stripped.replace("\r\n", "\n")}] if stripped else []
