"""What the marks in a text become when the thread is read: pictures, emoticons, mentions, labelled links."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from publisher.simulator.world import World

PICTURE_MARK = re.compile(r"#\(pic,([0-9]+),([0-9]+),([0-9]+)\)")
EMOTICONS = {"呵呵": 1, "哈哈": 2, "吐舌": 3, "啊": 4, "酷": 5, "怒": 6, "开心": 7, "汗": 8, "泪": 9, "滑稽": 25}
EMOTICON_MARK = re.compile(r"#\((" + "|".join(EMOTICONS) + r")\)")
AT_MARK = re.compile(r"#\(at, ?([^,()]+), ?([^,()]+), ?([0-9]+)\)")
LINK_MARK = re.compile(r"#\(url,0,([^,()]*),([^,()]*)\)")
PICTURE_HOST = "http://tiebapic.baidu.com/forum/pic/item"

Piece = dict[str, Any]


class Marks:
    def __init__(self, world: World) -> None:
        self.world = world
        self._kinds: dict[re.Pattern[str], Callable[[re.Match[str]], Piece]] = {
            PICTURE_MARK: self._picture,
            EMOTICON_MARK: _emoticon,
            AT_MARK: _mention,
            LINK_MARK: _link,
        }

    def pieces(self, text: str) -> list[Piece]:
        """Text and pictures in their order: type 0 is text, 1 a link, 2 an emoticon, 3 a picture, 4 a mention."""
        found = [(match, read) for kind, read in self._kinds.items() for match in kind.finditer(text)]
        pieces: list[Piece] = []
        end = 0
        for match, read in sorted(found, key=lambda each: each[0].start()):
            pieces += _text(text[end : match.start()])
            pieces.append(read(match))
            end = match.end()
        return pieces + _text(text[end:])

    def pictures(self, text: str) -> list[str]:
        """The digests of a text's pictures."""
        names = [match.group(1) for match in PICTURE_MARK.finditer(text)]
        return [found["sha256"] for name in names if (found := self.world.get("tieba_pictures", name))]

    def _picture(self, match: re.Match[str]) -> Piece:
        found = self.world.get("tieba_pictures", match.group(1)) or {"sha256": ""}
        source = f"{PICTURE_HOST}/{found['sha256']}.jpg"
        return {
            "type": 3,
            "src": source,
            "cdn_src": source,
            "big_cdn_src": source,
            "origin_src": source,
            "origin_size": len(self.world.media(found["sha256"]) or b""),
            "bsize": f"{match.group(2)},{match.group(3)}",
            "pic_id": match.group(1),
        }


def _emoticon(match: re.Match[str]) -> Piece:
    return {"type": 2, "text": f"image_emoticon{EMOTICONS[match.group(1)]}", "c": match.group(1)}


def _mention(match: re.Match[str]) -> Piece:
    return {"type": 4, "text": f"@{match.group(2)}", "uid": int(match.group(3)), "portrait": match.group(1)}


def _link(match: re.Match[str]) -> Piece:
    return {"type": 1, "text": unquote(match.group(2)), "link": unquote(match.group(1))}


def _text(text: str) -> list[Piece]:
    stripped = text.strip("\r\n")
    return [{"type": 0, "text": stripped.replace("\r\n", "\n")}] if stripped else []
