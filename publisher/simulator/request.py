"""One call of a client, and the response to it."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_form

from .faults import Fault
from .log import to_json

JSON_CONTENT_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    filename: str
    data: bytes


@dataclass(frozen=True, slots=True)
class ApiResponse:
    body: bytes
    status: int = 200
    content_type: str = JSON_CONTENT_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: object, status: int = 200) -> "ApiResponse":
        return cls(to_json(value), status)


@dataclass(slots=True)
class ApiRequest:
    platform: str
    endpoint: str
    method: str
    headers: Mapping[str, str]
    query: dict[str, str]
    body: bytes
    form: dict[str, str] = field(default_factory=dict)
    files: dict[str, UploadedFile] = field(default_factory=dict)
    account: str = ""
    faults: tuple[Fault, ...] = ()
    event_number: int = 0
    body_sha256: str = ""
    post_id: str | None = None
    peer_address: str = ""
    received_at: float = 0.0
    """When the request's head had arrived; the body may come much later."""

    def __post_init__(self) -> None:
        self.body_sha256 = hashlib.sha256(self.body).hexdigest()
        kind = self.headers.get("content-type", "")
        if kind.lower().startswith("multipart/form-data"):
            self.form, self.files = parse_multipart(kind, self.body)
        elif kind.lower().startswith("application/x-www-form-urlencoded"):
            self.form = parse_query(self.body.decode("utf-8", "replace"))

    def get_parameter(self, name: str) -> str | None:
        """Return a parameter from the body, else from the query."""
        found = self.form.get(name)
        return self.query.get(name) if found is None else found

    def get_int(self, name: str, default: int) -> int:
        """Return an integer from body or query, or the default if it is missing or invalid."""
        try:
            return int(self.get_parameter(name) or default)
        except ValueError:
            return default

    def get_cookie(self, name: str) -> str | None:
        for pair in self.headers.get("cookie", "").split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value.strip('"')
        return None

    def parse_json(self) -> dict[str, Any] | None:
        r"""Return the body as a JSON object, or None.

        `\uXXXX` stays as these six characters, as WeChat stores it; other escapes work as in any
        JSON.
        """
        try:
            text = self.body.decode("utf-8")
            if "\\u" in text:
                text = "\\\\".join(
                    piece.replace("\\u", "\\\\u") for piece in text.split("\\\\")
                )
            value = json.loads(text)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None

    def get_json(self, name: str) -> object:
        """Return a field of the JSON object in the body.

        It is None if there is no such field or no object.
        """
        return (self.parse_json() or {}).get(name)

    def get_fault(self, kind: str) -> Fault | None:
        return next((fault for fault in self.faults if fault["kind"] == kind), None)

    @property
    def fault_names(self) -> str | None:
        return "+".join(fault["kind"] for fault in self.faults) or None


def parse_query(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


def parse_multipart(
    content_type: str, body: bytes
) -> tuple[dict[str, str], dict[str, UploadedFile]]:
    """Return the fields and files of a multipart body; a part without a file name is a field."""
    form: dict[str, str] = {}
    files: dict[str, UploadedFile] = {}

    def add_field(field: Field) -> None:
        form[_decode(field.field_name)] = _decode(field.value)

    def add_file(file: File) -> None:
        file.file_object.seek(0)
        files[_decode(file.field_name)] = UploadedFile(
            _decode(file.file_name), file.file_object.read()
        )
        file.close()

    try:
        parse_form(
            {"Content-Type": content_type.encode()},
            io.BytesIO(body),
            add_field,
            add_file,
        )
    except (FormParserError, ValueError):
        return {}, {}
    return form, files


def _decode(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")
