"""An attempt says whether a person was asked to post it; a delivery, after which attempt a person ordered another."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("is_by_hand", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("delivery", sa.Column("ordered_after", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("delivery", "ordered_after")
    op.drop_column("attempt", "is_by_hand")
