"""A person posts by hand; publisher prepares and verifies, reading through the platform's own adapter."""

from .adapter import ManualPostingAdapter, ManualPostingValidator, enable_manual_posting

__all__ = ["ManualPostingAdapter", "ManualPostingValidator", "enable_manual_posting"]
