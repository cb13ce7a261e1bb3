"""Templates and pictures in, renditions out; previews and sending use the same."""

from publisher.rendering.composing import Original, render
from publisher.rendering.pictures import read_picture
from publisher.rendering.templates import Sample, Templates, load_templates, shipped_templates

__all__ = [
    "Original",
    "Sample",
    "Templates",
    "load_templates",
    "read_picture",
    "render",
    "shipped_templates",
]
