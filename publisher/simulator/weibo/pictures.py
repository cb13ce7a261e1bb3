"""Pictures sent with a post, and pictures stored for a later one (open.weibo.com wiki C/2/statuses/upload_pic/biz)."""

import base64
import secrets
from dataclasses import dataclass

from publisher.simulator.request import ApiRequest, ApiResponse
from publisher.simulator.state import SimulatorState

from .responses import build_picture_urls, refuse

MAX_PICTURE_BYTES = 5 * 1024 * 1024
FILE_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
MAX_PICTURES = 9
PICTURES_TABLE = "weibo_pictures"
NO_IMAGE, WRONG_TYPE, TOO_LARGE, MISSING_PARAMETER, INVALID_PARAMETER = 20007, 20005, 20006, 10016, 10017
PLACEHOLDER_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGOoBwAAgQCAbdzBAgAAAABJRU5ErkJggg=="
)
"""One grey pixel, used for a picture given by URL: the simulator fetches nothing."""


@dataclass(frozen=True, slots=True)
class WeiboPictures:
    state: SimulatorState

    def check_upload(self, request: ApiRequest, *, is_needed: bool) -> ApiResponse | None:
        """Return the refusal of the picture in the body, if any."""
        picture = request.files.get("pic")
        if picture is None:
            return refuse(request, NO_IMAGE) if is_needed or "pic" in request.form else None
        if not picture.data.startswith(FILE_SIGNATURES):
            return refuse(request, WRONG_TYPE)
        return refuse(request, TOO_LARGE) if len(picture.data) >= MAX_PICTURE_BYTES else None

    def check_references(self, request: ApiRequest) -> ApiResponse | None:
        """Return the refusal of the picture ids, or without ids of the URL, if any."""
        ids, url = _get_picture_ids(request), request.get_parameter("url") or ""
        if ids:
            is_valid = len(ids) <= MAX_PICTURES and all(self._find_digest(request, pic_id) for pic_id in ids)
            return None if is_valid else refuse(request, INVALID_PARAMETER, "pic_id")
        if not url:
            return refuse(request, MISSING_PARAMETER, "pic_id or url")
        return None if url.lower().startswith("http") else refuse(request, INVALID_PARAMETER, "url")

    def store_pictures(self, request: ApiRequest) -> list[str]:
        """Store the pictures of a valid call and return their digests, in the post's order."""
        picture = request.files.get("pic")
        if picture is not None:
            return [self.state.store_media(picture.data)]
        return [self._find_digest(request, pic_id) for pic_id in _get_picture_ids(request)]

    def store_placeholder(self) -> list[str]:
        return [self.state.store_media(PLACEHOLDER_PICTURE)]

    def register_picture(self, request: ApiRequest) -> ApiResponse:
        """Store a picture for a later post, under an id that only its account may use."""
        digest, pic_id = self.store_pictures(request)[0], secrets.token_hex(13)[:25]
        self.state.put_row(PICTURES_TABLE, pic_id, {"sha256": digest, "account": request.account})
        return ApiResponse.from_json({"pic_id": pic_id, **build_picture_urls(pic_id)})

    def _find_digest(self, request: ApiRequest, pic_id: str) -> str:
        facts = self.state.get_row(PICTURES_TABLE, pic_id)
        return str(facts["sha256"]) if facts and facts["account"] == request.account else ""


def _get_picture_ids(request: ApiRequest) -> list[str]:
    return [each.strip() for each in (request.get_parameter("pic_id") or "").split(",") if each.strip()]
