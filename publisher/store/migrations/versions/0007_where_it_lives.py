"""A shared database says where it lives, so that a dump put back in its place or elsewhere is known as one."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "INSERT INTO stamp (key, value) SELECT 'home', (SELECT system_identifier FROM pg_control_system())"
            " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
            " || '/' || 'stamp'::regclass::oid"
        )


def downgrade() -> None:
    op.execute("DELETE FROM stamp WHERE key = 'home'")
