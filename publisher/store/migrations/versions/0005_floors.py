"""A long text may go on in further floors of its post, one call each."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CONTINUED = sa.text("state = 'due' AND floors_done > 0")


def upgrade() -> None:
    for table, column in (("delivery", "floors"), ("delivery", "floors_done"), ("attempt", "floor")):
        op.add_column(table, sa.Column(column, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("login", sa.Column("floors_until", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(
        "continued_by_login",
        "delivery",
        ["login", "due_at", "id"],
        sqlite_where=CONTINUED,
        postgresql_where=CONTINUED,
    )


def downgrade() -> None:
    op.drop_index("continued_by_login", "delivery")
    for table, column in (
        ("login", "floors_until"),
        ("attempt", "floor"),
        ("delivery", "floors_done"),
        ("delivery", "floors"),
    ):
        op.drop_column(table, column)
