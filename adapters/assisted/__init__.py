"""A person posts by hand; publisher prepares and verifies, reading through the platform's own adapter."""

from .client import AssistedAdapter, HandJudge, assist

__all__ = ["AssistedAdapter", "HandJudge", "assist"]
