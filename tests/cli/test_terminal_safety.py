"""Backup, change and restore cannot hide a loss of audit entries.

The loss stays an alert until a named person accepts it.
"""

import asyncio
import json
import shutil
import sqlite3

import pytest

from publisher.domain.audit_chain import hash_entry
from publisher.engine.checkpoints import read_checkpoints
from tests.cli.conftest import write_drill_checkpoint
from tests.cli.posts import warning, write_schedule

ACCEPT = ("--by", "陈", "--reason", "旧库是演练时换的")


@pytest.fixture
def audited(run, drill, tmp_path):
    """Return a drill with a backup, later actions, and the auditors' checkpoints and public key."""
    return AuditedDrill(run, drill, tmp_path)


class AuditedDrill:
    def __init__(self, run, drill, tmp_path):
        self.run, self.folder, self.kept, self.held = (
            run,
            drill,
            tmp_path / "kept.db",
            tmp_path / "held.log",
        )
        write_schedule(drill, warning("refund", to='["platform:weibo"]'))
        assert self.report("send", "refund", "--by", "王").code == 0
        (drill / "var" / "intents.jsonl").touch()  # as a daemon's first start does
        self.write_checkpoint()
        assert self.report("backup", self.kept).code == 0
        self.first_lost = self.verify().json["last"] + 1
        assert (
            self.report("cancel", "refund", "--by", "李", "--reason", "试验").code == 0
        )
        self.write_checkpoint()
        shutil.copy(self.anchors, self.held)
        self.last = self.verify().json["last"]
        self.key = self.report("audit", "key").out.strip()

    @property
    def file(self):
        return self.folder / "var" / "publisher.db"

    @property
    def anchors(self):
        return self.folder / "var" / "audit-anchors.log"

    def report(self, *arguments):
        return self.run("-C", self.folder, *arguments)

    def verify(self, *arguments):
        return self.report("audit", "verify", "--json", *arguments)

    def as_auditors(self):
        """Verify an export with the auditors' data, and nothing of the workspace."""
        file = self.folder.parent / "export.jsonl"
        file.unlink(missing_ok=True)
        assert self.report("audit", "export", file).code == 0
        return self.run(
            "audit",
            "verify",
            "--json",
            "--file",
            file,
            "--key",
            self.key,
            "--anchors",
            self.held,
        )

    def alerts(self):
        return [
            alert["code"] for alert in self.report("status", "--json").json["alerts"]
        ]

    def write_checkpoint(self):
        asyncio.run(write_drill_checkpoint(self.folder))

    def copy_over(self):
        """Replace the database with the backup's contents by hand, as if they were always there."""
        for end in ("-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)
        shutil.copy(self.kept, self.file)
        with sqlite3.connect(self.file) as connection:
            connection.execute("DELETE FROM database_info WHERE key = 'backup'")
        connection.close()

    def forge(self, event, subject, detail, at=None):
        """Add an entry that is correctly chained to the one before it, by plain SQL."""
        with sqlite3.connect(self.file) as connection:
            number, before, previous = connection.execute(
                "SELECT id, at, hash FROM audit ORDER BY id DESC LIMIT 1"
            ).fetchone()
            fields = (
                at or before + 1,
                "person",
                "陈",
                event,
                subject,
                None,
                None,
                json.dumps(detail, ensure_ascii=False),
            )
            row = (
                number + 1,
                *fields,
                previous,
                hash_entry(number + 1, fields, previous),
            )
            connection.execute(
                "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            )
        connection.close()


@pytest.mark.long
def test_a_restore_does_not_hide_a_loss_of_audit_entries(audited):
    """I18: lost entries are named by number and time; the alert outlives resume until accepted.

    The loss is accepted.
    """
    assert audited.report("restore", audited.kept, "--by", "李").code == 0
    reported = audited.verify("--anchors", audited.held)
    [lost] = reported.json["errors"]
    assert (reported.code, lost["code"], lost["event"]) == (1, "lost", "restored")
    assert (lost["sequence"], lost["last_sequence"]) == (
        audited.first_lost,
        audited.last,
    )
    assert (lost["name"], lost["since"] <= lost["until"]) == ("李", True)
    assert audited.report("resume", "--by", "李").code == 0
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]
    assert [item["code"] for item in audited.as_auditors().json["errors"]] == ["lost"]
    accepted = audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT)
    assert (accepted.code, audited.alerts()) == (0, [])
    for shown in (audited.verify("--anchors", audited.held), audited.as_auditors()):
        assert (shown.code, shown.json["errors"]) == (0, [])
        [item] = shown.json["accepted"]
        assert (item["name"], item["reason"]) == ("陈", ACCEPT[-1])
        assert (item["sequence"], item["last_sequence"]) == (
            audited.first_lost,
            audited.last,
        )
        assert item["system"].startswith("uid ")
    audited.write_checkpoint()
    assert audited.alerts() == []
    assert "陈" in audited.report("audit", "verify").out


@pytest.mark.long
def test_a_restore_writes_checkpoints_before_and_after(audited):
    """Entries since the last checkpoint are recorded before the restore, and the head after it.

    The older database then takes over.
    """
    assert audited.report("pause", "--by", "李").code == 0
    assert audited.report("restore", audited.kept, "--by", "李").code == 0
    *_, cut, after = read_checkpoints(audited.anchors)
    assert cut.sequence > audited.last
    assert cut.signature
    assert after.signature
    reported = audited.verify()
    assert (
        reported.code,
        [item["last_sequence"] for item in reported.json["errors"]],
    ) == (
        1,
        [cut.sequence],
    )
    assert reported.json["last"] == after.sequence
    assert sorted(audited.alerts()) == ["audit_broken", "database_restored"]


def test_a_restore_without_its_key_says_that_the_checkpoint_is_missing(audited, drill):
    """The database is in place, yet the command does not end as if all were done."""
    (drill / "var" / "vault-key").unlink()
    restored = audited.report("restore", audited.kept, "--by", "李")
    assert restored.code == 1
    assert "审计锚点" in restored.err
    assert "vault-key" in restored.err
    assert "audit_checkpoint_failed" not in restored.err  # no line of a log
    assert "publisher run" in restored.out


@pytest.mark.long
def test_copied_files_do_not_hide_a_loss_of_audit_entries(audited):
    """The missing end, and later the other chain, are both reported, and the alert stays.

    The chain differs after new entries.
    """
    audited.copy_over()
    reported = audited.verify("--anchors", audited.held)
    [lost] = reported.json["errors"]
    assert (reported.code, lost["code"]) == (1, "lost")
    assert (lost["sequence"], lost["last_sequence"]) == (
        audited.first_lost,
        audited.last,
    )
    assert lost["since"] <= lost["until"]
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]
    for _ in range(audited.last):
        assert audited.report("pause", "--by", "李").code == 0
        assert audited.report("resume", "--by", "李").code == 0
    audited.write_checkpoint()
    reported = audited.verify("--anchors", audited.held)
    assert (reported.code, [item["code"] for item in reported.json["errors"]]) == (
        1,
        ["lost"],
    )
    assert audited.as_auditors().code == 1
    assert audited.alerts() == ["audit_broken"]
    assert (
        audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT).code == 0
    )
    assert (
        audited.verify("--anchors", audited.held).code,
        audited.as_auditors().code,
    ) == (0, 0)
    audited.write_checkpoint()
    assert audited.alerts() == []


@pytest.mark.long
@pytest.mark.parametrize("way", ["gone", "shorter"])
def test_losing_the_checkpoint_file_with_the_entries_hides_nothing(audited, way):
    """A newest checkpoint in a second place makes the alert come back until it is accepted."""
    audited.copy_over()
    lines = audited.anchors.read_text("utf-8").splitlines(keepends=True)
    audited.anchors.write_text(
        "".join(lines[:1]), "utf-8"
    ) if way == "shorter" else audited.anchors.unlink()
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]
    with sqlite3.connect(audited.file) as connection:
        connection.execute("DELETE FROM alert")
    connection.close()
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]
    assert [item["code"] for item in audited.verify().json["errors"]] == ["lost"]
    assert (
        audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT).code == 0
    )
    audited.write_checkpoint()
    assert (audited.alerts(), audited.verify("--anchors", audited.held).code) == ([], 0)


def test_a_moved_or_restarted_checkpoint_file_raises_no_alert(audited):
    """A moved checkpoint file raises no alert if the database knows its checkpoints."""
    audited.anchors.rename(audited.anchors.with_suffix(".1"))
    audited.write_checkpoint()
    settings = audited.folder / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8") + '\n[audit]\ncheckpoint_file = "elsewhere.log"\n',
        "utf-8",
    )
    audited.write_checkpoint()
    assert (audited.alerts(), audited.verify().code) == ([], 0)
    assert [
        file.exists() for file in (audited.anchors, audited.folder / "elsewhere.log")
    ] == [
        True,
        True,
    ]


@pytest.mark.long
def test_another_database_in_its_place_is_reported(audited):
    """One with another beginning is reported as such, consistent as it is, until it is accepted."""
    for file in audited.folder.joinpath("var").glob("publisher.db*"):
        file.unlink()
    assert audited.report("pause", "--by", "李").code == 0
    reported = audited.verify("--anchors", audited.held)
    assert (reported.code, [item["code"] for item in reported.json["errors"]]) == (
        1,
        ["lost"],
    )
    assert "database" in reported.json["errors"][0]
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]
    assert (
        audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT).code == 0
    )
    assert (
        audited.verify("--anchors", audited.held).code,
        audited.as_auditors().code,
    ) == (0, 0)
    audited.write_checkpoint()
    assert audited.alerts() == []


def test_an_acceptance_covers_no_later_checkpoint(audited):
    """Not even where a forged entry named an instant and a number far ahead."""
    audited.copy_over()
    audited.forge(
        "restored",
        "database",
        {"cut": [{"sequence": 10**6, "hash": "f" * 64}]},
        at=4 * 10**15,
    )
    assert (
        audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT).code == 0
    )
    assert audited.report("resume", "--by", "李").code == 0
    later = {
        **json.loads(audited.held.read_text("utf-8").splitlines()[-1]),
        "at": "2099-01-01T00:00:00+00:00",
    }
    later |= {"sequence": audited.verify().json["last"], "hash": "e" * 64}
    del later["signature"]
    audited.held.write_text(json.dumps(later, separators=(",", ":")) + "\n", "utf-8")
    assert audited.verify("--anchors", audited.held).code == 1


def test_an_alert_that_was_deleted_comes_back(audited):
    """It is computed from the checkpoints in each run, not from a row that could be deleted."""
    audited.copy_over()
    audited.write_checkpoint()
    with sqlite3.connect(audited.file) as connection:
        connection.execute("DELETE FROM alert")
    connection.close()
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]


@pytest.mark.long
def test_forged_entries_have_no_effect(audited):
    """Neither a restore entry nor an acceptance entry counts alone.

    An acceptance needs a signature.
    """
    audited.copy_over()
    last = list(read_checkpoints(audited.held))[-1]
    audited.forge(
        "restored",
        "database",
        {"cut": [{"sequence": last.sequence, "hash": last.hash}]},
    )
    assert [
        item["code"]
        for item in audited.verify("--anchors", audited.held).json["errors"]
    ] == ["lost"]
    loss = {
        "chain": last.chain,
        "sequence": 1,
        "until": 99,
        "hash": last.hash,
        "at": "2099-01-01T00:00:00+00:00",
    }
    for signature in ("", last.signature):
        audited.forge(
            "loss_accepted",
            "audit",
            {"reason": "试验", "losses": [loss], "signature": signature},
        )
        reported = audited.verify("--anchors", audited.held)
        assert (reported.code, reported.json["accepted"]) == (1, [])
        assert audited.as_auditors().code == 1
    audited.write_checkpoint()
    assert audited.alerts() == ["audit_broken"]


def test_an_acceptance_needs_checkpoints_from_elsewhere_a_name_and_a_loss(audited):
    """The workspace's own file does not count; without a loss there is nothing to accept."""
    assert audited.report("audit", "accept", *ACCEPT).code == 2
    assert (
        audited.report(
            "audit", "accept", "--anchors", audited.held, "--reason", "试验"
        ).code
        == 2
    )
    assert (
        audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT).code == 1
    )
    assert audited.report("restore", audited.kept, "--by", "李").code == 0
    assert (
        audited.report("audit", "accept", "--anchors", audited.anchors, *ACCEPT).code
        == 2
    )
    assert sorted(audited.alerts()) == ["audit_broken", "database_restored"]


@pytest.mark.long
def test_an_accepted_loss_does_not_cover_the_next(audited):
    """A second restore brings the alert back, and needs its own acceptance."""
    assert audited.report("restore", audited.kept, "--by", "李").code == 0
    assert (
        audited.report("audit", "accept", "--anchors", audited.held, *ACCEPT).code == 0
    )
    assert audited.verify("--anchors", audited.held).code == 0
    assert audited.report("restore", audited.kept, "--by", "李").code == 0
    assert audited.verify("--anchors", audited.held).code == 1
    assert "audit_broken" in audited.alerts()


@pytest.mark.long
def test_a_checkpoint_is_signed_and_a_forged_one_is_reported(audited):
    """Without the key nobody can change or add a line, even with write access to the file.

    This holds for signed and unsigned lines.
    """
    lines = audited.held.read_text("utf-8").splitlines()
    assert audited.verify("--key", audited.key, "--anchors", audited.held).json[
        "signed"
    ] == 2 * len(lines)
    row = json.loads(lines[-1])
    bare = {name: value for name, value in row.items() if name != "signature"}
    for forged in (
        {**row, "sequence": row["sequence"] - 1},
        {**row, "signature": "AAAA"},
        bare,
    ):
        audited.held.write_text(
            "\n".join([*lines, json.dumps(forged, separators=(",", ":"))]) + "\n",
            "utf-8",
        )
        reported = audited.verify("--anchors", audited.held)
        assert (
            reported.code,
            [item["code"] for item in reported.json["errors"]],
        ) == (
            1,
            ["forged_checkpoint"],
        )
    other = "A" * 43 + "="
    audited.held.write_text("\n".join(lines) + "\n", "utf-8")
    file = audited.folder.parent / "export.jsonl"
    assert audited.report("audit", "export", file).code == 0
    assert (
        audited.run(
            "audit", "verify", "--file", file, "--key", other, "--anchors", audited.held
        ).code
        == 1
    )
    assert (
        audited.run(
            "audit",
            "verify",
            "--file",
            file,
            "--key",
            audited.key,
            "--anchors",
            audited.held,
        ).code
        == 0
    )


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_old_checkpoints_without_a_signature_are_accepted_and_reported_as_such(
    audited, lang
):
    """Unsigned checkpoints from before the keys still show a loss, and are reported as unsigned."""
    rows = [json.loads(line) for line in audited.held.read_text("utf-8").splitlines()]
    bare = [
        {name: value for name, value in row.items() if name != "signature"}
        for row in rows
    ]
    audited.held.write_text(
        "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in bare), "utf-8"
    )
    reported = audited.verify("--lang", lang, "--anchors", audited.held)
    assert (reported.code, reported.json["unsigned"]) == (0, len(bare))
    assert ("没有签名" if lang == "zh_CN" else "without a signature") in reported.err
    audited.anchors.unlink()
    audited.copy_over()
    assert [
        item["code"]
        for item in audited.verify("--anchors", audited.held).json["errors"]
    ] == ["lost"]


def test_the_key_is_a_secret_and_the_public_one_can_be_given_as_a_file(audited):
    """It is created once, kept in the encrypted store, and shown to nobody."""
    assert audited.report("audit", "key").out.strip() == audited.key
    assert "audit-key" in audited.report("secret", "list").out
    file = audited.folder.parent / "public"
    file.write_text(audited.key + "\n", "ascii")
    assert audited.verify("--key", file, "--anchors", audited.held).code == 0
    assert audited.verify("--key", "x").code == 2
