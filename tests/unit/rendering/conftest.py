"""Shipped templates, and a function that loads any others."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from publisher.rendering.child import RenderWorker
from publisher.rendering.templates import Templates, load_templates, shipped_templates


@pytest.fixture(scope="session")
def shipped() -> Templates:
    return load_templates([shipped_templates()], RenderWorker())


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Templates]:
    """Return a function that loads templates from texts by path.

    The paths are below the workspace's templates/.
    """

    def load(
        files: Mapping[str, str | bytes], *, with_shipped: bool = False
    ) -> Templates:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_templates(
            [tmp_path, *([shipped_templates()] if with_shipped else [])], RenderWorker()
        )

    return load
