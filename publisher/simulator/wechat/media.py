"""Pictures: inside articles, in the library for good, or for three days (developers.weixin.qq.com, api/material)."""

import io
import secrets
from typing import Any

from PIL import Image

from publisher.simulator.call import Answer, Call, Upload
from publisher.simulator.world import World

from .answers import OK, refuse
from .drafts import page_of
from .ids import media_id, picture_url

KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif", b"BM": "bmp"}
INSIDE_BYTES = 1024 * 1024
COVER_BYTES = 10 * 1024 * 1024
THUMB_BYTES = 64 * 1024
TEMPORARY = ("jpeg", "png", "gif")
LIFE = 3 * 86_400
KEEPS = ("image", "thumb")


def kind_of(data: bytes) -> str | None:
    return next((kind for start, kind in KINDS.items() if data.startswith(start)), None)


class Media:
    def __init__(self, world: World) -> None:
        self.world = world

    def upload_image(self, call: Call) -> Answer:
        """JPEG or PNG under 1 MB; the answer is JSON that calls itself text."""
        file = _file_in(call)
        if file is None:
            return refuse(call, 41005)
        kind = kind_of(file.data)
        if kind not in ("jpeg", "png"):
            return refuse(call, 40005)
        if len(file.data) >= INSIDE_BYTES:
            return refuse(call, 40009)
        url = picture_url(self.world.store_media(file.data), kind)
        self.world.note("act", None, call)
        return Answer(Answer.of({"url": url, "errcode": 0, "errmsg": "ok"}).body, type="text/plain")

    def add_material(self, call: Call) -> Answer:
        wanted = call.query.get("type") or call.form.get("type", "")
        data, kind, code = self._taken(call, wanted)
        if code:
            return refuse(call, code)
        name, digest = media_id(secrets.token_hex(8)), self.world.store_media(data)
        kept = {
            "app_id": call.account,
            "sha256": digest,
            "url": picture_url(digest, kind),
            "type": wanted,
            "name": call.files["media"].filename,
            "size": _size_of(data),
            "update_time": int(self.world.now()),
        }
        self.world.put("wechat_materials", name, kept)
        self.world.note("act", None, call)
        return Answer.of({"media_id": name, "url": kept["url"], "item": []})

    def upload(self, call: Call) -> Answer:
        """Keep a picture for three days; its name is good for text-free mass sends and previews, not for covers."""
        wanted = call.query.get("type") or call.form.get("type", "")
        data, kind, code = self._taken(call, wanted)
        if code is None and kind not in TEMPORARY:
            code = 40005
        if code:
            return refuse(call, code)
        name, now = media_id(secrets.token_hex(8)), int(self.world.now())
        kept = {"app_id": call.account, "sha256": self.world.store_media(data), "dies_at": now + LIFE, "kind": kind}
        self.world.put("wechat_temporary", name, kept)
        self.world.note("act", None, call)
        return Answer.of(
            {"type": wanted, "thumb_media_id" if wanted == "thumb" else "media_id": name, "created_at": now}
        )

    def download(self, call: Call) -> Answer:
        kept = self.temporary(call, call.query.get("media_id", ""))
        data = self.world.media(kept["sha256"]) if kept else None
        if not kept or data is None:
            return refuse(call, 40007)
        return Answer(data, type=f"image/{kept['kind']}")

    def temporary(self, call: Call, name: str) -> dict[str, Any] | None:
        """The caller's picture of that name, if its three days are not over."""
        kept = self.world.get("wechat_temporary", name)
        alive = kept is not None and kept["app_id"] == call.account and kept["dies_at"] > self.world.now()
        return kept if alive else None

    def _taken(self, call: Call, wanted: str) -> tuple[bytes, str, int | None]:
        """The picture and its kind, or why it is not taken."""
        file = _file_in(call)
        if wanted not in KEEPS:
            return b"", "", 40004
        if file is None:
            return b"", "", 41005
        kind = kind_of(file.data)
        if kind is None or (wanted == "thumb" and kind != "jpeg"):
            return b"", "", 40005
        if len(file.data) > (COVER_BYTES if wanted == "image" else THUMB_BYTES):
            return b"", "", 40009 if wanted == "image" else 40012
        return file.data, kind, None

    # --- the library ---

    def owned(self, call: Call, name: object) -> dict[str, Any] | None:
        """The caller's picture of that name in the library."""
        found = self.world.get("wechat_materials", str(name or ""))
        return found if found and found["app_id"] == call.account else None

    def _library(self, call: Call, wanted: str) -> list[tuple[str, dict[str, Any]]]:
        kept = self.world.tables["wechat_materials"].items()
        mine = [(name, each) for name, each in kept if each["app_id"] == call.account and each["type"] == wanted]
        return mine[::-1]

    def get_material(self, call: Call) -> Answer:
        """The bytes themselves, for a picture."""
        found = self.owned(call, (call.json() or {}).get("media_id"))
        data = self.world.media(found["sha256"]) if found else None
        if data is None:
            return refuse(call, 40007)
        return Answer(data, type=f"image/{kind_of(data)}")

    def delete_material(self, call: Call) -> Answer:
        name = (call.json() or {}).get("media_id")
        if self.owned(call, name) is None:
            return refuse(call, 40007)
        self.world.put("wechat_materials", str(name), None)
        self.world.note("act", None, call)
        return Answer.of(OK)

    def count_materials(self, call: Call) -> Answer:
        count = sum(len(self._library(call, wanted)) for wanted in KEEPS)
        return Answer.of({"voice_count": 0, "video_count": 0, "image_count": count, "news_count": 0})

    def batch_get_materials(self, call: Call) -> Answer:
        wanted = call.json() or {}
        if wanted.get("type") not in ("image", "voice", "video", "news"):
            return refuse(call, 40004)
        found = [pair for kind in KEEPS for pair in self._library(call, kind)] if wanted["type"] == "image" else []
        start, count = page_of(wanted)
        items = [
            {"media_id": name, "name": each["name"], "update_time": each["update_time"], "url": each["url"], "tags": []}
            for name, each in found[start : start + count]
        ]
        return Answer.of({"item": items, "total_count": len(found), "item_count": len(items)})


def _file_in(call: Call) -> Upload | None:
    """The picture sent; one without a file name, or in a body of untold length, is none (41005, as users report)."""
    file = call.files.get("media")
    return file if file and file.filename and "content-length" in call.headers else None


def _size_of(data: bytes) -> list[int] | None:
    """Width and height in pixels; None for what cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return list(image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
