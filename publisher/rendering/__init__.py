"""Render posts from templates and pictures; previews and sending use the same code."""

from publisher.rendering.templates import Templates, TemplateSample, load_templates, shipped_templates

__all__ = ["TemplateSample", "Templates", "load_templates", "shipped_templates"]
