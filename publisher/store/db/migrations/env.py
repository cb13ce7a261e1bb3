"""Alembic's entry: it is handed a connection and runs the steps in one transaction."""

from alembic import context
from sqlmodel import SQLModel

from publisher.store.db import alert_tables, tables, user_tables

assert tables  # noqa: S101 # importing them fills the metadata
assert user_tables  # noqa: S101 # same
assert alert_tables  # noqa: S101 # same

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    on_version_apply=context.config.attributes.get("after_step", ()),
)
with context.begin_transaction():
    context.run_migrations()
