"""What a person needs to post by hand, as files: the pictures, and an article as a page to copy from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from publisher.domain.rendered import RenderedImage, RenderedPost

_SUFFIXES = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/bmp": "bmp", "image/webp": "webp"}
_PAGE_TEMPLATE = (
    '<!doctype html>\n<html lang="zh-CN">\n<meta charset="utf-8">\n<title>{title}</title>\n{body}\n</html>\n'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTaskFiles:
    """A folder with a task's files. `pictures` are in the order of the rendition; `article` is the page, if any."""

    folder: Path
    pictures: Sequence[Path]
    article: Path | None = None


def write_task_files(
    folder: Path, rendered: RenderedPost, data: Mapping[str, bytes], *, is_article: bool
) -> ManualTaskFiles:
    """Write a task's files, over older ones of the same names. What has left the books is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        picture.sha256: folder / _picture_name(number, picture)
        for number, picture in enumerate(rendered.images, 1)
        if picture.sha256 in data
    }
    for sha256, file in files.items():
        file.write_bytes(data[sha256])
    article = folder / "article.html" if is_article else None
    if article is not None:
        article.write_text(_article_page(rendered, files), "utf-8")
    return ManualTaskFiles(folder=folder, pictures=list(files.values()), article=article)


def _picture_name(number: int, picture: RenderedImage) -> str:
    return f"{number:02}.{_SUFFIXES.get(picture.media_type, 'bin')}"


def _article_page(rendered: RenderedPost, files: Mapping[str, Path]) -> str:
    body = rendered.text
    for sha256, file in files.items():
        body = body.replace(f"media:{sha256}", file.name)
    title = rendered.title.replace("&", "&amp;").replace("<", "&lt;")
    return _PAGE_TEMPLATE.format(title=title, body=body)
