"""Pictures: inside an article by `media/uploadimg`, as a cover by `material/add_material`."""

import secrets

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse
from .ids import media_id, picture_url
from .tokens import Tokens

KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif", b"BM": "bmp"}
INSIDE_BYTES = 1024 * 1024
COVER_BYTES = 10 * 1024 * 1024
THUMB_BYTES = 64 * 1024


def kind_of(data: bytes) -> str | None:
    return next((kind for start, kind in KINDS.items() if data.startswith(start)), None)


class Media:
    def __init__(self, world: World, tokens: Tokens) -> None:
        self.world = world
        self._tokens = tokens

    def upload_image(self, call: Call) -> Answer:
        """JPEG or PNG under 1 MB; the answer is JSON that calls itself text."""
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        file = call.files.get("media")
        if file is None or not file.filename:
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
        refusal = self._tokens.refusal(call)
        if refusal:
            return refusal
        wanted, file = call.query.get("type") or call.form.get("type", ""), call.files.get("media")
        if wanted not in ("image", "thumb"):
            return refuse(call, 40004)
        if file is None or not file.filename:
            return refuse(call, 41005)
        kind = kind_of(file.data)
        if kind is None or (wanted == "thumb" and kind != "jpeg"):
            return refuse(call, 40005)
        if len(file.data) > (COVER_BYTES if wanted == "image" else THUMB_BYTES):
            return refuse(call, 40009 if wanted == "image" else 40012)
        return self._keep(call, file.data, kind)

    def _keep(self, call: Call, data: bytes, kind: str) -> Answer:
        digest = self.world.store_media(data)
        name = media_id(secrets.token_hex(8))
        url = picture_url(digest, kind)
        self.world.put("wechat_materials", name, {"app_id": call.account, "sha256": digest, "url": url})
        self.world.note("act", None, call)
        return Answer.of({"media_id": name, "url": url, "item": []})
