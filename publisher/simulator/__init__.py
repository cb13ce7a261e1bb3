"""The three platforms in one process, faults included.

The simulator shares no code with the rest of publisher.
"""

from .app import create_app
from .server import CertificateError, TlsListener, serve, serve_app

__all__ = ["CertificateError", "TlsListener", "create_app", "serve", "serve_app"]
