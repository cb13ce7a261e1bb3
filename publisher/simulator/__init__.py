"""The three platforms in one process, faults included; it shares no code with the rest of publisher."""

from .app import create_app
from .server import serve, serve_app

__all__ = ["create_app", "serve", "serve_app"]
