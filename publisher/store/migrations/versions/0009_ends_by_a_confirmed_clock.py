"""An attempt says whether its end was dated by a confirmed clock; what an older version noted of set clocks goes."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("attempt", sa.Column("ended_confirmed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("DELETE FROM stamp WHERE key LIKE 'jump:%'")
    op.execute("UPDATE alert SET cleared_at = at WHERE subject = 'clock' AND cleared_at IS NULL")
    op.execute("DELETE FROM pause WHERE scope = 'clock'")


def downgrade() -> None:
    op.drop_column("attempt", "ended_confirmed")
