"""What workers have died with is found without going through all that is due."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SUSPECTS = sa.text("state = 'due' AND deaths >= 2")


def upgrade() -> None:
    op.create_index(
        "suspects_by_login",
        "delivery",
        ["login", "due_at", "id"],
        sqlite_where=SUSPECTS,
        postgresql_where=SUSPECTS,
    )


def downgrade() -> None:
    op.drop_index("suspects_by_login", "delivery")
