"""Caches shared by all tests of a process, whose many databases and workspaces have the same statements and pages."""

from typing import Any

from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Connection, Engine, event

from publisher.rendering.child import RenderWorker
from publisher.rendering.jobs import TemplateFiles


class CompiledStatements(dict[Any, Any]):
    """Compiled SQL statements, by the kind of database and the statement. SQLAlchemy itself has one for each engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_for_any_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_for_any_engine(key), value)


def _for_any_engine(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return dialect.name, *rest


STATEMENTS = CompiledStatements()


def share_statements() -> None:
    """Let all engines of this process use the same compiled statements."""
    event.listen(Engine, "engine_connect", _use_statements)


def _use_statements(connection: Connection) -> None:
    connection.execution_options(compiled_cache=STATEMENTS)


class CompiledPages(BytecodeCache):
    """The compiled pages of templates, by their name, file and source."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if known := self._pages.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(known)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._pages[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


PAGES = CompiledPages()


class CachingRenderer(RenderWorker):
    """A renderer in this process that compiles a page only if no other has compiled it."""

    def load(self, files: TemplateFiles) -> None:
        super().load(files)
        self._sandbox.bytecode_cache = PAGES
