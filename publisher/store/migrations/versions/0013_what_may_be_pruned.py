"""What says whose a text is and until when a picture is shown, so that what ended long ago can be pruned."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("delivery", sa.Column("is_pruned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("by_due_time", "delivery", ["is_pruned", "due_at"])
    op.create_index("planned_by_occurrence", "delivery", ["post", "label", "planned_at"])
    op.add_column("media", sa.Column("shown_until", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE media SET shown_until = (SELECT COALESCE(MAX(expires_at), 0) FROM delivery)")
    op.add_column("rendition", sa.Column("post", sa.String(), nullable=False, server_default=""))
    op.add_column("rendition", sa.Column("label", sa.String(), nullable=False, server_default=""))
    op.create_index("for_this_step", "delivery", ["rendition"])
    for column in ("post", "label"):
        op.execute(
            f"UPDATE rendition SET {column} = COALESCE((SELECT MIN({column}) FROM delivery"  # noqa: S608 # names of ours
            " WHERE delivery.rendition = rendition.fingerprint), '')"
        )
    op.drop_index("for_this_step", "delivery")
    op.create_index("renditions_by_delivery", "rendition", ["post", "label", "account"])
    op.create_index("media_by_use", "media", ["shown_until"])
    op.create_index(
        "scheduled_posts",
        "post",
        ["id"],
        sqlite_where=sa.text("is_scheduled = 1"),
        postgresql_where=sa.text("is_scheduled"),
    )


def downgrade() -> None:
    op.drop_index("scheduled_posts", "post")
    op.drop_index("renditions_by_delivery", "rendition")
    op.drop_column("rendition", "label")
    op.drop_column("rendition", "post")
    op.drop_index("media_by_use", "media")
    op.drop_column("media", "shown_until")
    op.drop_index("planned_by_occurrence", "delivery")
    op.drop_index("by_due_time", "delivery")
    op.drop_column("delivery", "is_pruned")
