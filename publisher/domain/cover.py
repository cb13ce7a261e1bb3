"""The cover of an article, cut to the shapes in which its platform shows it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

COVER_RATIOS: Final[Mapping[str, float]] = {"wide": 2.35, "square": 1.0}
"""Width to height of each shape."""
MAX_ZOOM: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CropPosition:
    """The part of a picture that a shape shows: its place between two edges, and its size.

    `x` and `y` are per cent, 0 at the left and the top. A `zoom` of 100 per cent is the largest part.
    """

    x: int = 50
    y: int = 50
    zoom: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CropBox:
    """The part of a picture, in pixels."""

    left: float
    top: float
    width: float
    height: float


def cut_box(width: int, height: int, shape: str, position: CropPosition) -> CropBox:
    """Return the part of a picture of this size that has the ratio of a shape."""
    ratio = COVER_RATIOS[shape]
    scale = 100 / position.zoom
    box_width = min(width, height * ratio) * scale
    box_height = min(height, width / ratio) * scale
    return CropBox(
        left=(width - box_width) * position.x / 100,
        top=(height - box_height) * position.y / 100,
        width=box_width,
        height=box_height,
    )


def format_fractions(box: CropBox, width: int, height: int) -> str:
    """Return the corners of a part as fractions of its picture: `X1_Y1_X2_Y2`."""
    corners = (
        box.left / width,
        box.top / height,
        (box.left + box.width) / width,
        (box.top + box.height) / height,
    )
    return "_".join(f"{min(each, 1):.6f}".rstrip("0").rstrip(".") for each in corners)


def parse_fractions(text: str, width: int, height: int) -> CropBox:
    """Return the part of a picture of this size that `format_fractions` has written."""
    left, top, right, bottom = map(float, text.split("_"))
    return CropBox(
        left=left * width,
        top=top * height,
        width=(right - left) * width,
        height=(bottom - top) * height,
    )
