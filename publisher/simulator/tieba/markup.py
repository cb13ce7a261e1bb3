"""Parsing of the markup in a text: pictures, emoticons, mentions, labelled links."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from publisher.simulator.state import SimulatorState

PICTURE_MARKUP = re.compile(r"#\(pic,([0-9]+),([0-9]+),([0-9]+)\)")
EMOTICONS = {"呵呵": 1, "哈哈": 2, "吐舌": 3, "啊": 4, "酷": 5, "怒": 6, "开心": 7, "汗": 8, "泪": 9, "滑稽": 25}
EMOTICON_MARKUP = re.compile(r"#\((" + "|".join(EMOTICONS) + r")\)")
MENTION_MARKUP = re.compile(r"#\(at, ?([^,()]+), ?([^,()]+), ?([0-9]+)\)")
LINK_MARKUP = re.compile(r"#\(url,0,([^,()]*),([^,()]*)\)")
PICTURE_HOST = "http://tiebapic.baidu.com/forum/pic/item"

Piece = dict[str, Any]


class MarkupParser:
    def __init__(self, state: SimulatorState) -> None:
        self.state = state
        self._kinds: dict[re.Pattern[str], Callable[[re.Match[str]], Piece]] = {
            PICTURE_MARKUP: self._parse_picture,
            EMOTICON_MARKUP: lambda match: {
                "type": 2,
                "text": f"image_emoticon{EMOTICONS[match.group(1)]}",
                "c": match.group(1),
            },
            MENTION_MARKUP: lambda match: {
                "type": 4,
                "text": f"@{match.group(2)}",
                "uid": int(match.group(3)),
                "portrait": match.group(1),
            },
            LINK_MARKUP: lambda match: {"type": 1, "text": unquote(match.group(2)), "link": unquote(match.group(1))},
        }

    def parse(self, text: str) -> list[Piece]:
        """Return the pieces of a text in order: type 0 is text, 1 a link, 2 an emoticon, 3 a picture, 4 a mention."""
        found = [(match, read) for kind, read in self._kinds.items() for match in kind.finditer(text)]
        pieces: list[Piece] = []
        end = 0
        for match, read in sorted(found, key=lambda each: each[0].start()):
            pieces += _parse_text(text[end : match.start()])
            pieces.append(read(match))
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
