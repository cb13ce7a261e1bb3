"""Uploading pictures: the PC editor's `c/s/uploadPicture_pc`; read on 2026-11-24."""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .markup import PICTURE_HOST
from .responses import refuse
from .sign_in import SimulatedTiebaAuth

FIRST_PICTURE_ID = 301_500_000_001
FILE_SIGNATURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif"}
FILE_PLACEHOLDER = "[object File]"
"""The signature contains this text in place of the file's bytes."""
MAX_PICTURE_BYTES = 10 * 1024 * 1024
BAD_PICTURE_CODE = "2230201"


class TiebaPictureApi:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth) -> None:
        self.state = state
        self._auth = auth

    def upload(self, request: ApiRequest) -> ApiResponse:
        refusal = self._auth.check_signed_post(request, chunk=FILE_PLACEHOLDER) or self._auth.check_tbs(request)
        if refusal:
            return refusal
        file = request.files.get("chunk")  # the editor sends one chunk; an incomplete file counts as empty
        is_complete = (request.form.get("chunkNo"), request.form.get("isFinish")) == ("1", "1")
        data = file.data if file and is_complete else b""
        kind = next((kind for start, kind in FILE_SIGNATURES.items() if data.startswith(start)), None)
        if kind is None or len(data) > MAX_PICTURE_BYTES:
            return refuse(request, BAD_PICTURE_CODE)
        name = str(FIRST_PICTURE_ID + len(self.state.tables["tieba_pictures"]))
        digest = self.state.store_media(data)
        self.state.put_row("tieba_pictures", name, {"sha256": digest, "account": request.account})
        self.state.record_event("act", None, request)
        picture = {
            "width": request.form.get("width", "0"),
            "height": request.form.get("height", "0"),
            "type": kind,
            "picUrl": f"{PICTURE_HOST}/{digest}.{kind}",
        }
        return ApiResponse.from_json(
            {
                "error_code": "0",
                "error_msg": "sucess",
                "resourceId": request.form.get("resourceId", ""),
                "chunkNo": request.form.get("chunkNo", "1"),
                "picId": name,
                "picInfo": {"originPic": picture, "bigPic": picture, "smallPic": picture},
            }
        )
