"""A person posts by hand; publisher prepares and verifies, reading through the platform's own adapter."""

from .client import AssistedAdapter, HandJudge

__all__ = ["AssistedAdapter", "HandJudge"]
