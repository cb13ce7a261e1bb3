"""Uploading pictures: the PC editor's `c/s/uploadPicture_pc`; read on 2026-11-24."""

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse
from .marks import PICTURE_HOST
from .sign_in import SignIn
from .standing import hasty

FIRST_PICTURE = 301_500_000_001
KINDS = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif"}
FILE_SIGNED = "[object File]"
"""What stands for the file's bytes in the signature."""
PICTURE_BYTES = 10 * 1024 * 1024
BAD_PICTURE, TOO_FAST = "2230201", "2230204"


class Pictures:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in

    def upload(self, call: Call) -> Answer:
        refusal = self._refusal(call)
        if refusal:
            return refusal
        data = _whole(call)
        kind = next((kind for start, kind in KINDS.items() if data.startswith(start)), None)
        if kind is None or len(data) > PICTURE_BYTES:
            return refuse(call, BAD_PICTURE)
        name = str(FIRST_PICTURE + len(self.world.tables["tieba_pictures"]))
        digest = self.world.store_media(data)
        self.world.put("tieba_pictures", name, {"sha256": digest, "account": call.account})
        self.world.note("act", None, call)
        return self._uploaded(call, name, f"{PICTURE_HOST}/{digest}.{kind}", kind)

    def _refusal(self, call: Call) -> Answer | None:
        gap = self.world.settings.tieba_upload_gap
        return (
            self._sign_in.posted(call, chunk=FILE_SIGNED)
            or self._sign_in.stranger(call)
            or hasty(self.world, call, "upload", gap, TOO_FAST)
        )

    def _uploaded(self, call: Call, name: str, url: str, kind: str) -> Answer:
        size = {
            "width": call.form.get("width", "0"),
            "height": call.form.get("height", "0"),
            "type": kind,
            "picUrl": url,
        }
        return Answer.of(
            {
                "error_code": "0",
                "error_msg": "sucess",
                "resourceId": call.form.get("resourceId", ""),
                "chunkNo": call.form.get("chunkNo", "1"),
                "picId": name,
                "picInfo": {"originPic": size, "bigPic": size, "smallPic": size},
            }
        )


def _whole(call: Call) -> bytes:
    """The picture, in the one chunk that the editor sends; nothing where it is not all there."""
    file = call.files.get("chunk")
    return file.data if file and (call.form.get("chunkNo"), call.form.get("isFinish")) == ("1", "1") else b""
