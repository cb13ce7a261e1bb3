"""Templates and pictures in, renditions out; previews and sending use the same."""

from publisher.rendering.templates import Sample, Templates, load_templates, shipped_templates

__all__ = ["Sample", "Templates", "load_templates", "shipped_templates"]
