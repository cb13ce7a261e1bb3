"""Uploading pictures: the PC editor's `c/s/uploadPicture_pc`, the app's `c/s/uploadPicture`; read on 2026-11-24."""

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse
from .dialects import Dialect, dialect_of
from .marks import PICTURE_HOST
from .sign_in import SignIn
from .standing import hasty

FIRST_PICTURE = 301_500_000_001
KINDS = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif"}
FILE_SIGNED = "[object File]"
"""What stands for the file's bytes in the signature of the PC site's upload; the app leaves the file out."""
CHUNK = 512_000
PICTURE_BYTES = 10 * 1024 * 1024
BAD_PICTURE, TOO_FAST = "2230201", "2230204"


class Pictures:
    def __init__(self, world: World, sign_in: SignIn) -> None:
        self.world = world
        self._sign_in = sign_in
        self._parts: dict[tuple[str, str], bytes] = {}
        """Chunks so far, by account and resource."""

    def upload(self, call: Call) -> Answer:
        refusal = self._refusal(call)
        if refusal:
            return refusal
        data = self._gathered(call)
        if data is None:
            return refuse(call, BAD_PICTURE)
        if call.form.get("isFinish") != "1":
            return self._uploaded(call, "", "", "")
        kind = next((kind for start, kind in KINDS.items() if data.startswith(start)), None)
        if kind is None or len(data) > PICTURE_BYTES:
            return refuse(call, BAD_PICTURE)
        name = str(FIRST_PICTURE + len(self.world.tables["tieba_pictures"]))
        digest = self.world.store_media(data)
        self.world.put("tieba_pictures", name, {"sha256": digest, "account": call.account})
        self.world.note("act", None, call)
        return self._uploaded(call, name, f"{PICTURE_HOST}/{digest}.{kind}", kind)

    def _refusal(self, call: Call) -> Answer | None:
        """The app's upload carries no token."""
        is_pc = dialect_of(call) is Dialect.PC
        signed = {"chunk": FILE_SIGNED} if is_pc else {}
        gap = self.world.settings.tieba_upload_gap
        return (
            self._sign_in.posted(call, **signed)
            or (self._sign_in.stranger(call) if is_pc else self._sign_in.nobody(call))
            or hasty(self.world, call, "upload", gap, TOO_FAST)
        )

    def _gathered(self, call: Call) -> bytes | None:
        """The picture as far as it has come; None when a chunk is missing, too large or out of order."""
        file, number = call.files.get("chunk"), call.number_of("chunkNo", 0)
        key = (call.account, call.form.get("resourceId", ""))
        before = self._parts.pop(key, b"") if number > 1 else b""
        if file is None or number < 1 or (number > 1 and len(before) != (number - 1) * CHUNK):
            return None
        is_last = call.form.get("isFinish") == "1"
        if dialect_of(call) is Dialect.FORM and (len(file.data) > CHUNK or (not is_last and len(file.data) != CHUNK)):
            return None
        data = before + file.data
        if not is_last:
            self._parts[key] = data
        return data

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
