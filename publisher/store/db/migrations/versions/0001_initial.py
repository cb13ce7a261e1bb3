"""All tables of the first release.

They are made from the row classes. With the release this step becomes a list of its own: from then
on a change of a class is a step of its own.
"""

import re
import secrets

import sqlalchemy as sa
from alembic import op
from sqlmodel import SQLModel

from publisher.store.db.sqlite_files import AUDIT_TRIGGERS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

AUDIT_POSTGRESQL = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit is only ever added to'; END $$;;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();;
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
"""
UNLIMITED = frozenset({"open_by_state"})
"""PostgreSQL does not see that a state given as a parameter meets the condition of this index."""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        _limit_indexes_for_postgresql()
    SQLModel.metadata.create_all(connection, checkfirst=False)
    # a shared database says where it lives, so that a copy is known as one
    if connection.dialect.name == "postgresql":
        op.execute(
            "INSERT INTO database_info (key, value) SELECT 'database_identity',"
            " (SELECT system_identifier FROM pg_control_system())"
            " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
            " || '/' || 'database_info'::regclass::oid"
        )
    info = sa.table(
        "database_info", sa.column("key", sa.String), sa.column("value", sa.String)
    )
    for key in ("audit_genesis", "credential_key"):
        connection.execute(info.insert().values(key=key, value=secrets.token_hex(32)))
    statements = (
        AUDIT_TRIGGERS
        if connection.dialect.name == "sqlite"
        else AUDIT_POSTGRESQL.strip().split(";;")
    )
    for statement in statements:
        connection.exec_driver_sql(statement)


def _limit_indexes_for_postgresql() -> None:
    """Limit each index to the same rows as on SQLite, which has numbers for truth values."""
    for table in SQLModel.metadata.sorted_tables:
        for index in table.indexes:
            condition = index.dialect_options["sqlite"]["where"]
            if condition is not None and index.name not in UNLIMITED:
                text = re.sub(r"(is_\w+) = 0", r"NOT \1", str(condition))
                text = re.sub(r"(is_\w+) = 1", r"\1", text)
                index.dialect_options["postgresql"]["where"] = sa.text(text)


def downgrade() -> None:
    """There is no way back from the first release."""
    raise NotImplementedError
