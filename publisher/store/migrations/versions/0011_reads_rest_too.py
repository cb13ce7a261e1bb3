"""A limit that a read met keeps back every call of its login, reads as well."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("reads_until", "limited_until", "busy_since"):
        op.add_column("login", sa.Column(column, sa.BigInteger(), nullable=False, server_default="0"))


def downgrade() -> None:
    for column in ("busy_since", "limited_until", "reads_until"):
        op.drop_column("login", column)
