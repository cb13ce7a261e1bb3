"""A lease says whose it is: what a dead worker left is taken up by the one that comes in its place."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("worker", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("delivery", "worker")
