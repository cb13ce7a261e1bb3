"""Templates and pictures in, renditions out; previews and sending use the same."""

from publisher.rendering.templates import Templates, TemplateSample, load_templates, shipped_templates

__all__ = ["TemplateSample", "Templates", "load_templates", "shipped_templates"]
