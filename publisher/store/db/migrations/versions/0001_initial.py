"""All tables of the first release."""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from publisher.store.db.sqlite_files import AUDIT_TRIGGERS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

AUDIT_POSTGRESQL = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit is only ever added to'; END $$;;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();;
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()
"""


def _only(condition: str) -> dict[str, Any]:
    """Limit an index to the rows that meet a condition, on either database."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:  # noqa: PLR0915 # one table after the other
    op.create_table(
        "mode_override",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("post", sa.String(), nullable=False),
        sa.Column("occurrence", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=True),
        sa.Column("is_emergency", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("ended_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("approvals_by_occurrence", "approval", ["post", "occurrence"])
    op.create_table(
        "approvable_text",
        sa.Column("post", sa.String(), nullable=False),
        sa.Column("occurrence", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("saved_by", sa.String(), nullable=True),
        sa.Column("file_owner", sa.String(), nullable=True),
        sa.Column("is_edit", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("content_hash", sa.String(), nullable=False, server_default=""),
        sa.Column("rendered_hashes", sa.Text(), nullable=False),
        sa.Column("returned_at", sa.BigInteger(), nullable=True),
        sa.Column("returned_by", sa.String(), nullable=True),
        sa.Column("returned_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("post", "occurrence", "fingerprint"),
    )
    op.create_table(
        "duty_officer",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "post_save",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("post", sa.String(), nullable=False),
        sa.Column("body_sha256", sa.String(), nullable=False),
        sa.Column("text_sha256", sa.String(), nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=False),
        sa.Column("base_sha256", sa.String(), nullable=False),
        sa.Column("growth", sa.Integer(), nullable=False),
        sa.Column("copied_from", sa.String(), nullable=True),
        sa.Column("copied_hash", sa.String(), nullable=False, server_default=""),
        sa.Column("file_owners", sa.Text(), nullable=False, server_default="[]"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("saves_by_post", "post_save", ["post"])
    op.create_index("saves_by_text", "post_save", ["text_sha256"])
    op.create_table(
        "decision_request",
        sa.Column("delivery", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("delivery"),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.Column("dismissed_at", sa.BigInteger(), nullable=True),
        sa.Column("dismissed_by", sa.String(), nullable=True),
        sa.Column("reopenings", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("notice", sa.String(), nullable=False, server_default=""),
        sa.Column("notices", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("noticed_at", sa.BigInteger(), nullable=True),
        sa.Column("escalated_at", sa.BigInteger(), nullable=True),
        sa.Column("is_settled", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alert_subject", "alert", ["subject"])
    op.create_index(
        "unsettled_alerts",
        "alert",
        ["id"],
        sqlite_where=sa.text("is_settled = 0"),
        postgresql_where=sa.text("NOT is_settled"),
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("alert", sa.Integer(), nullable=True),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, server_default=""),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("next_action_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error", sa.String(), nullable=False, server_default=""),
        sa.Column("is_sent", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key", "channel"),
    )
    op.create_index(
        "open_notices",
        "notice",
        ["next_action_at"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("notices_by_alert", "notice", ["alert"])
    op.create_index("open_alerts", "alert", ["id"], sqlite_where=sa.text("cleared_at IS NULL"))
    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("rendered_hash", sa.String(), nullable=False),
        sa.Column("newest_id", sa.String(), nullable=True),
        sa.Column("baseline_at", sa.BigInteger(), nullable=False),
        sa.Column("intended_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("is_end_confirmed", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("part", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("is_manual", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("delivery", "number"),
    )
    op.create_index("attempts_by_account", "attempt", ["account", "id"])
    op.create_index("attempts_by_login", "attempt", ["login", "intended_at", "part"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("after", sa.String(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject"])
    op.create_index(
        "entries_of_people", "audit", ["id", "name", "event"], **_only("role = 'person'")
    )
    op.create_table(
        "data_loss",
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("covers_new_posts", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("since"),
    )
    op.create_table(
        "database_info",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("post", sa.String(), nullable=False),
        sa.Column("occurrence", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision_hash", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("rendered_hash", sa.String(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("max_delay", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("is_urgent", sa.Boolean(), nullable=False),
        sa.Column("follows", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("next_action_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("readbacks", sa.Integer(), nullable=False),
        sa.Column("auth_failures", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("worker_crashes", sa.Integer(), nullable=False),
        sa.Column("unknown_since", sa.BigInteger(), nullable=True),
        sa.Column("submitted_at", sa.BigInteger(), nullable=True),
        sa.Column("verified_at", sa.BigInteger(), nullable=True),
        sa.Column("remote_id", sa.String(), nullable=True),
        sa.Column("url", sa.String(), nullable=True),
        sa.Column("published_at", sa.BigInteger(), nullable=True),
        sa.Column("is_manually_confirmed", sa.Boolean(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.Column("reported_url", sa.String(), nullable=True),
        sa.Column("was_resent", sa.Boolean(), nullable=False),
        sa.Column("desired", sa.String(), nullable=False, server_default="as_planned"),
        sa.Column("first_attempt_deadline", sa.BigInteger(), nullable=True),
        sa.Column("extra_parts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("parts_done", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("resend_after_attempt", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("is_pruned", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("marker", sa.String(), nullable=False),
        sa.Column("is_due_when_approved", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("post", "occurrence", "account"),
    )
    op.create_index("deliveries_by_marker", "delivery", ["marker"])
    op.create_index("deliveries_by_due_time", "delivery", ["is_pruned", "due_at"])
    op.create_index(
        "started_by_login",
        "delivery",
        ["login", "due_at", "id"],
        **_only("state = 'due' AND parts_done > 0"),
    )
    op.create_index(
        "unresolved_by_account",
        "delivery",
        ["account"],
        **_only("state IN ('sending', 'unknown', 'retracting')"),
    )
    op.create_index(
        "due_by_login",
        "delivery",
        ["login", sa.text("is_urgent DESC"), "due_at", "id"],
        **_only("state = 'due'"),
    )
    op.create_index(
        "expiry_of_waiting",
        "delivery",
        ["expires_at"],
        **_only("state IN ('pending', 'due', 'retrying')"),
    )
    op.create_index(
        "published_by_account",
        "delivery",
        ["account", "published_at"],
        sqlite_where=sa.text("published_at IS NOT NULL"),
    )
    op.create_index(
        "next_action_by_state",
        "delivery",
        ["state", "next_action_at"],
        **_only("next_action_at IS NOT NULL"),
    )
    op.create_index(
        "one_in_flight_per_login",
        "delivery",
        ["login"],
        unique=True,
        **_only("state IN ('claimed', 'sending')"),
    )
    op.create_index(
        "one_owner_per_remote_id",
        "delivery",
        ["account", "remote_id"],
        unique=True,
        **_only("remote_id IS NOT NULL"),
    )
    op.create_index(
        "open_by_state",
        "delivery",
        ["state"],
        sqlite_where=sa.text("state NOT IN ('published', 'cancelled', 'expired')"),
    )
    op.create_index("scheduled_by_occurrence", "delivery", ["post", "occurrence", "scheduled_at"])
    op.create_index(
        "recurring_by_account",
        "delivery",
        ["post", "account", "due_at"],
        **_only("occurrence != 'once'"),
    )
    op.create_table(
        "presence",
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("forum", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("spelled_as", sa.String(), nullable=False),
        sa.Column("reported", sa.String(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("platform", "server", "forum", "identity"),
    )
    op.create_index("presences_by_account", "presence", ["account"])
    op.create_table(
        "former_id",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "credential",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("reported", sa.String(), nullable=True),
        sa.Column("checked_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "login_health",
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("next_action_at", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("login"),
    )
    op.create_table(
        "login",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("cooldown_until", sa.BigInteger(), nullable=False),
        sa.Column("routine_cooldown_until", sa.BigInteger(), nullable=False),
        sa.Column("parts_cooldown_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("reads_cooldown_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("rate_limited_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("busy_since", sa.BigInteger(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("logins_by_cooldown", "login", ["cooldown_until"])
    op.create_table(
        "readback",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.String(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_readback_delivery", "readback", ["delivery"])
    op.create_table(
        "media",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("shown_until", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_index("media_by_use", "media", ["shown_until"])
    op.create_table(
        "adapter_state",
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("login", "key"),
    )
    op.create_table(
        "orphaned_attempt",
        sa.Column("rendered_hash", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False),
        sa.Column("post", sa.String(), nullable=False),
        sa.Column("occurrence", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("identity", sa.String(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("rendered_hash", "at"),
    )
    op.create_table(
        "pause",
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("scope"),
    )
    op.create_table(
        "post",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("target_hash", sa.String(), nullable=False, server_default=""),
        sa.Column("planned_hash", sa.String(), nullable=False, server_default=""),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("in_force_since", sa.BigInteger(), nullable=False),
        sa.Column("is_scheduled", sa.Boolean(), nullable=False),
        sa.Column("is_cancelled", sa.Boolean(), nullable=False),
        sa.Column("corrected_by", sa.String(), nullable=True),
        sa.Column("saved_by", sa.String(), nullable=True),
        sa.Column("file_owner", sa.String(), nullable=True),
        sa.Column("writers", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("last_save", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("words_hash", sa.String(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("posts_by_words", "post", ["words_hash"])
    op.create_index(
        "scheduled_posts",
        "post",
        ["id"],
        sqlite_where=sa.text("is_scheduled = 1"),
        postgresql_where=sa.text("is_scheduled"),
    )
    op.create_table(
        "reach",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reads", sa.Integer(), nullable=True),
        sa.Column("reposts", sa.Integer(), nullable=True),
        sa.Column("comments", sa.Integer(), nullable=True),
        sa.Column("likes", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("reach_by_delivery", "reach", ["delivery", "at"])
    op.create_table(
        "rendered_post",
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("revision_hash", sa.String(), nullable=False),
        sa.Column("post", sa.String(), nullable=False, server_default=""),
        sa.Column("occurrence", sa.String(), nullable=False, server_default=""),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint"),
    )
    op.create_index("ix_rendered_post_revision_hash", "rendered_post", ["revision_hash"])
    op.create_index("rendered_by_delivery", "rendered_post", ["post", "occurrence", "account"])
    op.create_table(
        "schedule",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "server_timeline",
        sa.Column("timeline", sa.String(), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("timeline"),
    )
    op.create_table(
        "observed_post",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("remote_id", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("predates_monitoring", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("account", "remote_id"),
    )
    op.create_table(
        "known_account",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "monitor_schedule",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("next_action_at", sa.BigInteger(), nullable=False),
        sa.Column("monitored_since", sa.BigInteger(), nullable=True),
        sa.Column("identity", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.String(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
        sa.Column("settings_hash", sa.String(), nullable=True),
        sa.Column("templates_hash", sa.String(), nullable=True),
        sa.Column("accounts", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "worker_state",
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("config_hash", sa.String(), nullable=True),
        sa.Column("compared_timeline", sa.String(), nullable=True),
        sa.Column("is_comparison_pending", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("clock_at", sa.BigInteger(), nullable=True),
        sa.Column("clock_ticks", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("worker"),
    )
    _create_user_tables()
    connection = op.get_bind()
    # a shared database says where it lives, so that a copy is known as one
    if connection.dialect.name == "postgresql":
        op.execute(
            "INSERT INTO database_info (key, value) SELECT 'database_identity',"
            " (SELECT system_identifier FROM pg_control_system())"
            " || '/' || (SELECT oid FROM pg_database WHERE datname = current_database())"
            " || '/' || 'database_info'::regclass::oid"
        )
    info = sa.table("database_info", sa.column("key", sa.String), sa.column("value", sa.String))
    for key in ("audit_genesis", "credential_key"):
        connection.execute(info.insert().values(key=key, value=secrets.token_hex(32)))
    statements = (
        AUDIT_TRIGGERS
        if connection.dialect.name == "sqlite"
        else AUDIT_POSTGRESQL.strip().split(";;")
    )
    for statement in statements:
        connection.exec_driver_sql(statement)


def _create_user_tables() -> None:
    op.create_table(
        "auth_user",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("name_skeleton", sa.String(), nullable=False),
        sa.Column("grants", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column("totp_secret", sa.String(), nullable=True),
        sa.Column("totp_step", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("link_hash", sa.String(), nullable=True),
        sa.Column("link_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("link_browser_hash", sa.String(), nullable=True),
        sa.Column("awaits_second_factor", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("admin_ended_at", sa.BigInteger(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("name"),
        sa.UniqueConstraint("name_skeleton"),
        sa.UniqueConstraint("link_hash"),
        sa.UniqueConstraint("link_browser_hash"),
    )
    op.create_table(
        "recovery_code",
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("code_hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("user", "code_hash"),
    )
    op.create_table(
        "auth_session",
        sa.Column("id_hash", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("stepped_up_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id_hash"),
    )
    op.create_index("ix_auth_session_user", "auth_session", ["user"])
    op.create_table(
        "auth_token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("token_hash"),
    )
    op.create_index("ix_auth_token_user", "auth_token", ["user"])
    op.create_table(
        "user_request",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("grants", sa.Text(), nullable=False),
        sa.Column("factors", sa.String(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("user"),
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("name_hash", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name_hash", "source"),
    )
    op.create_table(
        "refusal",
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("recorded", sa.Integer(), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("last_source", sa.String(), nullable=False),
        sa.Column("unseen", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("user", "kind"),
    )
    op.create_table(
        "draft",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("post", sa.String(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_draft_user", "draft", ["user"])
    op.create_index("ix_draft_updated_at", "draft", ["updated_at"])
    op.create_table(
        "upload",
        sa.Column("file", sa.String(), nullable=False),
        sa.Column("user", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("file", "user"),
    )


def downgrade() -> None:
    """There is no way back from the first release."""
    raise NotImplementedError
