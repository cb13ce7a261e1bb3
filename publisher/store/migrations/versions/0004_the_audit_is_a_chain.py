"""The audit becomes a chain that is only ever added to; what it holds already is bound in the order it was written."""

import json
import secrets
from collections.abc import Iterator
from hashlib import sha256

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PAGE = 2000
COLUMNS = ("at", "role", "name", "event", "subject", "before", "after", "detail")
# INSERT OR REPLACE deletes without waking the second trigger, so there is a third.
SQLITE = """
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END;;
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
    BEGIN SELECT RAISE(ABORT, 'the audit is only ever added to'); END
"""
POSTGRESQL = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit is only ever added to'; END $$;;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse();;
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
"""


def upgrade() -> None:
    connection = op.get_bind()
    genesis = secrets.token_hex(32)
    stamp = sa.table("stamp", sa.column("key", sa.String), sa.column("value", sa.String))
    # On SQLite this first row opens the transaction that all the rest is part of.
    connection.execute(stamp.insert().values(key="audit_genesis", value=genesis))
    op.rename_table("audit", "audit_unbound")
    op.drop_index("ix_audit_subject", table_name="audit_unbound")
    bound = op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="audit_chain_pkey"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    for rows in _bind(connection, genesis):
        connection.execute(bound.insert(), rows)
    op.drop_table("audit_unbound")
    statements = SQLITE if connection.dialect.name == "sqlite" else POSTGRESQL
    for statement in statements.split(";;"):
        connection.exec_driver_sql(statement)


def _bind(connection: sa.Connection, previous: str) -> Iterator[list[dict[str, object]]]:
    """Give all entries page by page, numbered without a gap; the form that is hashed never changes."""
    unbound = sa.table("audit_unbound", sa.column("id"), *map(sa.column, COLUMNS))
    number = last = 0
    page = sa.select(unbound).order_by(unbound.c.id).limit(PAGE)
    while found := connection.execute(page.where(unbound.c.id > last)).mappings().all():
        rows = []
        for entry in found:
            number += 1
            fields = {name: entry[name] for name in COLUMNS}
            spelled = json.dumps([number, *fields.values(), previous], separators=(",", ":"))
            digest = sha256(b"publisher audit 1\n" + spelled.encode()).hexdigest()
            rows.append({"id": number, **fields, "previous": previous, "hash": digest})
            previous = digest
        last = found[-1]["id"]
        yield rows


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in ("audit_no_update", "audit_no_delete", "audit_no_replace"):
            op.execute(f"DROP TRIGGER {name}")
    else:
        op.execute("DROP TRIGGER audit_no_change ON audit")
        op.execute("DROP TRIGGER audit_no_truncate ON audit")
        op.execute("DROP FUNCTION audit_refuse()")
    with op.batch_alter_table("audit") as batch_op:
        batch_op.drop_column("hash")
        batch_op.drop_column("previous")
    op.execute("DELETE FROM stamp WHERE key = 'audit_genesis'")
