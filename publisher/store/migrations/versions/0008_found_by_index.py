"""What workers have died with, and how many calls a login has made, is found without going through all there is."""

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
    op.drop_index("attempts_by_login", "attempt")
    op.create_index("attempts_by_login", "attempt", ["login", "intended_at", "floor"])


def downgrade() -> None:
    op.drop_index("attempts_by_login", "attempt")
    op.create_index("attempts_by_login", "attempt", ["login", "intended_at"])
    op.drop_index("suspects_by_login", "delivery")
