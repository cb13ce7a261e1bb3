"""One column says what people want of a delivery, one until when its first call may begin."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SUSPECTS = sa.text("state = 'due' AND deaths >= 2")
REPEATED = sa.text("label != 'once'")


def upgrade() -> None:
    op.add_column("delivery", sa.Column("desired", sa.String(), nullable=False, server_default="as_filed"))
    op.add_column("delivery", sa.Column("last_first_call_at", sa.BigInteger(), nullable=True))
    op.execute("UPDATE delivery SET desired = 'cancelled' WHERE is_withdrawn")
    op.execute("UPDATE delivery SET desired = 'taken_down' WHERE is_retract_ordered")
    op.execute("UPDATE delivery SET last_first_call_at = due_at + max_late WHERE NOT was_claimed OR attempts = 0")
    op.drop_index("suspects_by_login", "delivery")
    for column in ("was_claimed", "is_withdrawn", "is_retract_ordered"):
        op.drop_column("delivery", column)
    op.create_index(
        "repeated_by_account",
        "delivery",
        ["post", "account", "due_at"],
        sqlite_where=REPEATED,
        postgresql_where=REPEATED,
    )


def downgrade() -> None:
    op.drop_index("repeated_by_account", "delivery")
    for column in ("was_claimed", "is_withdrawn", "is_retract_ordered"):
        op.add_column("delivery", sa.Column(column, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE delivery SET was_claimed = true WHERE last_first_call_at IS NULL")
    op.execute("UPDATE delivery SET is_withdrawn = true WHERE desired IN ('not_here', 'cancelled')")
    op.execute("UPDATE delivery SET is_retract_ordered = true WHERE desired = 'taken_down'")
    op.drop_column("delivery", "last_first_call_at")
    op.drop_column("delivery", "desired")
    op.create_index(
        "suspects_by_login", "delivery", ["login", "due_at", "id"], sqlite_where=SUSPECTS, postgresql_where=SUSPECTS
    )
