"""Style, script, icons and vendored files, each at an address with its hash, for browser caches."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from publisher.domain.kinds import PostKind

STATIC_FOLDER = files("publisher.web") / "static"
CONTENT_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The kinds of files that are served; others in the folder, such as licences, are not."""
STYLE_FILE = "style.css"
HASH_LENGTH = 12
ONE_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """A file as it is served. The hash is part of its path: a changed file has another."""

    path: str
    content_type: str
    body: bytes = field(repr=False)
    compressed: bytes = field(repr=False)


@cache
def load_static_files() -> Mapping[str, StaticFile]:
    """Return the files by their name inside the folder, such as `style.css`."""
    return dict(find_files(STATIC_FOLDER, ""))


def find_files(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            found += find_files(entry, f"{name}/")
        elif content_type := CONTENT_TYPES.get(f".{entry.name.rpartition('.')[2]}"):
            body = entry.read_bytes()
            if name == STYLE_FILE:
                body += write_kind_rules().encode()
            path = f"/static/{sha256(body).hexdigest()[:HASH_LENGTH]}/{name}"
            compressed = gzip.compress(body, mtime=0)
            found.append(
                (
                    name,
                    StaticFile(
                        path=path,
                        content_type=content_type,
                        body=body,
                        compressed=compressed,
                    ),
                )
            )
    return found


def write_kind_rules() -> str:
    """Return the style rules that hide the fields of other kinds in the form of a post.

    A field names its kinds by classes such as `for-update`.
    """
    rules = (
        f'.compose:has([name="kind"][value="{kind}"]:checked) [class*="for-"]:not(.for-{kind})'
        " { display: none; }"
        for kind in PostKind
    )
    return "\n".join(["@layer pages {", *rules, "}", ""])


def static_path(name: str) -> str:
    """Return the address of a file."""
    return load_static_files()[name].path


async def serve_static(request: Request) -> Response:
    """Serve a file at its address.

    An old page's address of a changed file is not found. The page is then reloaded.
    """
    file = load_static_files().get(request.path_params["name"])
    if file is None or file.path != request.url.path:
        return PlainTextResponse("", status_code=404)
    headers = {"cache-control": ONE_YEAR, "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(
            file.compressed,
            media_type=file.content_type,
            headers={**headers, "content-encoding": "gzip"},
        )
    return Response(file.body, media_type=file.content_type, headers=headers)
