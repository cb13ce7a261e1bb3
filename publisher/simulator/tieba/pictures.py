"""Uploading pictures: the PC editor's `c/s/uploadPicture_pc`; read on 2026-11-24."""

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .markup import PICTURE_HOST
from .responses import refuse
from .restrictions import check_rate_limit
from .sign_in import SimulatedTiebaAuth

FIRST_PICTURE_ID = 301_500_000_001
FILE_SIGNATURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png", b"GIF8": "gif"}
FILE_PLACEHOLDER = "[object File]"
"""What stands for the file's bytes in the signature."""
MAX_PICTURE_BYTES = 10 * 1024 * 1024
BAD_PICTURE_CODE, TOO_FAST_CODE = "2230201", "2230204"


class TiebaPictureApi:
    def __init__(self, state: SimulatorState, auth: SimulatedTiebaAuth) -> None:
        self.state = state
        self._auth = auth

    def upload(self, request: ApiRequest) -> ApiResponse:
        refusal = self._check(request)
        if refusal:
            return refusal
        data = _get_file_data(request)
        kind = next((kind for start, kind in FILE_SIGNATURES.items() if data.startswith(start)), None)
        if kind is None or len(data) > MAX_PICTURE_BYTES:
            return refuse(request, BAD_PICTURE_CODE)
        name = str(FIRST_PICTURE_ID + len(self.state.tables["tieba_pictures"]))
        digest = self.state.store_media(data)
        self.state.put_row("tieba_pictures", name, {"sha256": digest, "account": request.account})
        self.state.record_event("act", None, request)
        return self._make_upload_response(request, name, f"{PICTURE_HOST}/{digest}.{kind}", kind)

    def _check(self, request: ApiRequest) -> ApiResponse | None:
        gap = self.state.behaviour.tieba_upload_gap
        return (
            self._auth.check_signed_post(request, chunk=FILE_PLACEHOLDER)
            or self._auth.check_tbs(request)
            or check_rate_limit(self.state, request, "upload", gap, TOO_FAST_CODE)
        )

    def _make_upload_response(self, request: ApiRequest, name: str, url: str, kind: str) -> ApiResponse:
        size = {
            "width": request.form.get("width", "0"),
            "height": request.form.get("height", "0"),
            "type": kind,
            "picUrl": url,
        }
        return ApiResponse.from_json(
            {
                "error_code": "0",
                "error_msg": "sucess",
                "resourceId": request.form.get("resourceId", ""),
                "chunkNo": request.form.get("chunkNo", "1"),
                "picId": name,
                "picInfo": {"originPic": size, "bigPic": size, "smallPic": size},
            }
        )


def _get_file_data(request: ApiRequest) -> bytes:
    """The picture, in the one chunk that the editor sends; nothing where it is not all there."""
    file = request.files.get("chunk")
    return file.data if file and (request.form.get("chunkNo"), request.form.get("isFinish")) == ("1", "1") else b""
