"""Pictures: inside articles, permanent, or kept for three days.

The source is developers.weixin.qq.com, api/material.
"""

import io
import secrets
from typing import Any

from PIL import Image

from publisher.simulator.log import to_json
from publisher.simulator.request import ApiRequest, ApiResponse, UploadedFile
from publisher.simulator.state import SimulatorState

from .responses import OK_BODY, build_picture_url, make_media_id, parse_page, refuse

FILE_SIGNATURES = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF8": "gif",
    b"BM": "bmp",
}
MAX_INLINE_BYTES = 1024 * 1024
MAX_COVER_BYTES = 10 * 1024 * 1024
TEMPORARY_TYPES = ("jpeg", "png", "gif")
TEMPORARY_LIFETIME_SECONDS = 3 * 86_400


def detect_picture_type(data: bytes) -> str | None:
    return next(
        (kind for start, kind in FILE_SIGNATURES.items() if data.startswith(start)),
        None,
    )


def upload_image(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Store a JPEG or PNG under 1 MB; the response is JSON with a text content type."""
    file = _get_uploaded_file(request)
    if file is None:
        return refuse(request, 41005)
    kind = detect_picture_type(file.data)
    if kind not in ("jpeg", "png"):
        return refuse(request, 40005)
    if len(file.data) >= MAX_INLINE_BYTES:
        return refuse(request, 40009)
    url = build_picture_url(state.store_media(file.data), kind)
    state.record_event("act", None, request)
    return ApiResponse(to_json({"url": url, **OK_BODY}), content_type="text/plain")


def add_material(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    data, kind, code = _validate_upload(request)
    if code:
        return refuse(request, code)
    name, digest = make_media_id(secrets.token_hex(8)), state.store_media(data)
    material = {
        "app_id": request.account,
        "sha256": digest,
        "url": build_picture_url(digest, kind),
        "name": request.files["media"].filename,
        "size": _measure_picture(data),
        "update_time": int(state.now()),
    }
    state.put_row("wechat_materials", name, material)
    state.record_event("act", None, request)
    return ApiResponse.from_json({"media_id": name, "url": material["url"], "item": []})


def upload_temporary(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Store a picture for three days; its id is not valid for covers."""
    data, kind, code = _validate_upload(request)
    if code is None and kind not in TEMPORARY_TYPES:
        code = 40005
    if code:
        return refuse(request, code)
    name, now = make_media_id(secrets.token_hex(8)), int(state.now())
    material = {
        "app_id": request.account,
        "sha256": state.store_media(data),
        "dies_at": now + TEMPORARY_LIFETIME_SECONDS,
        "kind": kind,
    }
    state.put_row("wechat_temporary", name, material)
    state.record_event("act", None, request)
    return ApiResponse.from_json({"type": "image", "media_id": name, "created_at": now})


def download_temporary(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Return the caller's temporary picture, unless its three days are over."""
    material = state.get_row("wechat_temporary", request.query.get("media_id", ""))
    if (
        not material
        or material["app_id"] != request.account
        or material["dies_at"] <= state.now()
    ):
        return refuse(request, 40007)
    data = state.read_media(material["sha256"]) or b""
    return ApiResponse(data, content_type=f"image/{material['kind']}")


def _validate_upload(request: ApiRequest) -> tuple[bytes, str, int | None]:
    """Return the picture, its type and None, or the error code that refuses it."""
    file = _get_uploaded_file(request)
    if (request.query.get("type") or request.form.get("type")) != "image":
        return b"", "", 40004
    if file is None:
        return b"", "", 41005
    kind = detect_picture_type(file.data)
    if kind is None:
        return b"", "", 40005
    return (
        (b"", "", 40009)
        if len(file.data) > MAX_COVER_BYTES
        else (file.data, kind, None)
    )


# --- the library ---


def find_material(
    state: SimulatorState, request: ApiRequest, name: object
) -> dict[str, Any] | None:
    """Return the caller's permanent picture of that id."""
    found = state.get_row("wechat_materials", str(name or ""))
    return found if found and found["app_id"] == request.account else None


def _list_materials(
    state: SimulatorState, request: ApiRequest
) -> list[tuple[str, dict[str, Any]]]:
    """Return the caller's permanent pictures, newest first."""
    materials = state.tables["wechat_materials"].items()
    return [
        (name, each) for name, each in materials if each["app_id"] == request.account
    ][::-1]


def get_material(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    """Return the bytes of a picture."""
    found = find_material(state, request, request.get_json("media_id"))
    data = state.read_media(found["sha256"]) if found else None
    if data is None:
        return refuse(request, 40007)
    return ApiResponse(data, content_type=f"image/{detect_picture_type(data)}")


def delete_material(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    name = request.get_json("media_id")
    if find_material(state, request, name) is None:
        return refuse(request, 40007)
    state.put_row("wechat_materials", str(name), None)
    state.record_event("act", None, request)
    return ApiResponse.from_json(OK_BODY)


def count_materials(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    count = len(_list_materials(state, request))
    return ApiResponse.from_json(
        {"voice_count": 0, "video_count": 0, "image_count": count, "news_count": 0}
    )


def batch_get_materials(state: SimulatorState, request: ApiRequest) -> ApiResponse:
    fields = request.parse_json() or {}
    if fields.get("type") not in ("image", "voice", "video", "news"):
        return refuse(request, 40004)
    found = _list_materials(state, request) if fields["type"] == "image" else []
    start, count = parse_page(fields)
    items = [
        {
            "media_id": name,
            "name": each["name"],
            "update_time": each["update_time"],
            "url": each["url"],
            "tags": [],
        }
        for name, each in found[start : start + count]
    ]
    return ApiResponse.from_json(
        {"item": items, "total_count": len(found), "item_count": len(items)}
    )


def _get_uploaded_file(request: ApiRequest) -> UploadedFile | None:
    """Return the uploaded picture.

    Without a file name or a content length there is none (41005, as users report).
    """
    file = request.files.get("media")
    return (
        file if file and file.filename and "content-length" in request.headers else None
    )


def _measure_picture(data: bytes) -> list[int] | None:
    """Return width and height in pixels; None for an unreadable picture."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return list(image.size)
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ):
        return None
