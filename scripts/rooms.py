"""The subjects of publisher, each with its modules in every layer.

A room of the store or of the dashboard belongs to one subject as a whole; any other file belongs to
the subject that lists its name. docs/architecture.md has the table, drawn by make_docs.py.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "domain": ("publisher/domain/*.py",),
    "store": ("publisher/store/*.py", "publisher/store/*/*.py"),
    "engine": ("publisher/engine/*.py",),
    "commands": ("publisher/cli/commands/*.py",),
    "pages": ("publisher/web/*/*.py",),
    "messages": ("publisher/i18n/*.toml",),
    "tests": (
        "tests/unit/domain/test_*.py",
        "tests/store/test_*.py",
        "tests/engine/test_*.py",
        "tests/alerts/test_*.py",
        "tests/cli/test_*.py",
        "tests/web/test_*.py",
    ),
}
"""The files of each column."""
FOLDERS: Mapping[str, str] = {
    "store/approvals": "approvals",
    "store/db": "database",
    "store/deliveries": "sending",
    "store/people": "people",
    "store/recovery": "recovery",
    "web/http": "dashboard",
    "web/kit": "dashboard",
}
"""Rooms with a subject of another name, or with several subjects beside them."""
SUBJECTS: Mapping[str, str] = {
    "schedule": """
        batches changed_forms check contacts contents divisions edits families file_watch filed_texts files
        follow_ups kinds occurrence_locks plan plan_portions planner portions post_list refresh
        reload rendering replaced_texts schedule_edits schedule_file settings_removals slips
        start_checks stored_posts template_rules templates values versions
    """,
    "posts": """
        actions bulk cancel correct correction corrections decisions expiring known_posts occurrences
        open_outcomes orders post posts progress queries recovery_orders removals resend resends resolve
        retract search send status why
    """,
    "sending": """
        absence backoff call_record calls circuit_breaker cooldowns delivery hanging_names
        late_responses lifecycle outbox parts rate_limit reconciler rendered_post results
        retry_after reviews sender similar_texts states transport unknown_outcomes verification walk
    """,
    "manual": "assist manual manual_tasks",
    "approvals": """
        approval approval_race approvals approve approved_families content_changes
        duty remark repeats tasks unapprove
    """,
    "write": """
        bulk_move cover data_fields differences draft_form emergency_posts field_errors originals
        form_words library lookups notes
        phone picture_shrinker pictures pinyin post_change post_check post_form preview previews
        region_words rewrite save_limits schedule_editor turns typed_fields uploads urgent write writers
    """,
    "calendar": "calendar",
    "today": "dashboard glyph today todo unseen",
    "accounts": """
        account account_lines accounts adapter_state changed_accounts credentials doctor foreign_state
        kept_secrets login login_health mode modes offboard platform_recovery rename_account
        renewals rotations secret secret_report secret_reports sign_in_links
    """,
    "monitoring": """
        deleted evergreen monitor preflight reach report reports silence
    """,
    "alerts": """
        acknowledgements alert_classes alerts appeals ask backlog channel_check channel_proofs channels
        each_fault failing_jobs notice_groups notice_writer notices notifier plan_alerts
        system_alerts
    """,
    "audit": "audit audit_chain audit_log audit_verifier checkpoints",
    "people": """
        access authentication departure drafts password permissions people regions roles
        sign_in similar_names tokens user users
    """,
    "health": """
        certificates checks clock clock_check counters disk_space full_disk health idle
        job_scheduler jobs lost_workers outdated_daemon probes replication watchdog watchdog_settings
    """,
    "recovery": """
        backup backup_folder backup_record backups comparison folder journal last_backup
        lost_attempts maintenance migrate move_database restore restore_age retention setup snapshot
        snapshots starting_together take_over upgrades
    """,
    "database": """
        base database_identity identity intent_journal no_room outage platform_texts postgres power
        presences query_plans sqlite_files store
    """,
    "dashboard": """
        buttons callback_arrivals callbacks live middleware plain_words process server statements tls
        vendor web
    """,
    "commands": """
        addresses capacity characters cli demo errors imports init interrupt live_display log logs
        new_adapter pause printed_commands resume run service_manager simulate terminal
        terminal_safety words
    """,
}
"""The names of each subject's files, without `test_` and `web_`."""


def find_subject(path: Path) -> str:
    """Return the subject of a file. Raises SystemExit unless there is exactly one."""
    folder = "/".join(path.parent.parts[-2:])
    if folder in FOLDERS:
        return FOLDERS[folder]
    if folder.startswith("web/"):
        return folder.removeprefix("web/")
    name = path.stem.removeprefix("test_").removeprefix(
        "web_" if path.suffix == ".toml" else ""
    )
    found = [subject for subject, names in SUBJECTS.items() if name in names.split()]
    if len(found) != 1:
        raise SystemExit(
            f"{path}: {len(found)} subjects in scripts/rooms.py have {name}"
        )
    return found[0]


def list_files(column: str) -> Iterator[tuple[str, str]]:
    """Yield the subject and the name of each file of a column."""
    for pattern in COLUMNS[column]:
        for path in sorted(ROOT.glob(pattern)):
            file = path.relative_to(ROOT)
            if path.name not in {"__init__.py", "env.py"}:
                yield find_subject(file), shorten(file, column)


def shorten(file: Path, column: str) -> str:
    """Return a file's name below the folder of its column."""
    depth = {"tests": 1, "commands": 3}.get(column, 2)
    name = "/".join(file.parts[depth:])
    return f"`{name.removesuffix('.py').removesuffix('.toml')}`"


def rooms_table() -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows: a row for each subject, with its files in each layer."""
    columns = {column: list(list_files(column)) for column in COLUMNS}
    rows = [
        [
            subject,
            *(
                ", ".join(name for owner, name in files if owner == subject)
                for files in columns.values()
            ),
        ]
        for subject in SUBJECTS
    ]
    return ["subject", *COLUMNS], rows
