"""The audit is not laundered by backup, act and restore: a loss stays an alert until a named person accepts it."""

import asyncio
import json
import shutil
import sqlite3

import pytest

from publisher.app.application import open_application
from publisher.config import load_settings
from publisher.domain.audit_chain import hash_entry
from publisher.engine.checkpoints import build_checkpoint_targets, read_checkpoints, write_checkpoint
from publisher.runtime.clock import Runtime
from tests.cli.posts import warning, write_schedule

ACCEPT = ("--by", "陈", "--reason", "旧库是演练时换的")


@pytest.fixture
def place(run, drill, tmp_path):
    """Give a drill with a backup, orders given since, and what auditors hold: the anchors and the public key."""
    return Place(run, drill, tmp_path)


class Place:
    def __init__(self, run, drill, tmp_path):
        self.run, self.folder, self.kept, self.held = run, drill, tmp_path / "kept.db", tmp_path / "held.log"
        write_schedule(drill, warning("refund", to='["platform:weibo"]'))
        assert self.report("send", "refund", "--by", "王").code == 0
        (drill / "var" / "intents.jsonl").touch()  # as a daemon's first start does
        self.moor()
        assert self.report("backup", self.kept).code == 0
        self.first_lost = self.verify().json["last"] + 1
        assert self.report("cancel", "refund", "--by", "李", "--reason", "试验").code == 0
        self.moor()
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
        """Verify an export with what the auditors hold, and nothing of the workspace."""
        file = self.folder.parent / "export.jsonl"
        file.unlink(missing_ok=True)
        assert self.report("audit", "export", file).code == 0
        return self.run("audit", "verify", "--json", "--file", file, "--key", self.key, "--anchors", self.held)

    def alerts(self):
        return [alert["code"] for alert in self.report("status", "--json").json["alerts"]]

    def moor(self):
        """Let the daemon write its anchor."""
        asyncio.run(self._moor())

    async def _moor(self):
        settings = await load_settings(self.folder)
        async with open_application(settings, Runtime(), can_send=False) as application:
            await write_checkpoint(application.audit, build_checkpoint_targets(settings))

    def copy_over(self):
        """Put the backup's contents in place by hand, as if it had been there all the time."""
        for end in ("-wal", "-shm"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)
        shutil.copy(self.kept, self.file)
        with sqlite3.connect(self.file) as connection:
            connection.execute("DELETE FROM database_info WHERE key = 'backup'")
        connection.close()

    def forge(self, event, subject, detail, at=None):
        """Add an entry that is rightly bound to the one before it, by plain SQL."""
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
            row = (number + 1, *fields, previous, hash_entry(number + 1, fields, previous))
            connection.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.close()


def test_a_restore_does_not_hide_a_loss_of_audit_entries(place):
    """I18: what went with it is named by numbers and times; the alert outlives the resume, until it is accepted."""
    assert place.report("restore", place.kept, "--by", "李").code == 0
    reported = place.verify("--anchors", place.held)
    [lost] = reported.json["breaks"]
    assert (reported.code, lost["damage"]) == (1, "replaced")
    assert (lost["sequence"], lost["until"]) == (place.first_lost, place.last)
    assert (lost["name"], lost["since"] <= lost["till"]) == ("李", True)
    assert place.report("resume", "--by", "李").code == 0
    place.moor()
    assert place.alerts() == ["audit_broken"]
    assert [item["damage"] for item in place.as_auditors().json["breaks"]] == ["replaced"]
    accepted = place.report("audit", "accept", "--anchors", place.held, *ACCEPT)
    assert (accepted.code, place.alerts()) == (0, [])
    for shown in (place.verify("--anchors", place.held), place.as_auditors()):
        assert (shown.code, shown.json["breaks"]) == (0, [])
        [item] = shown.json["accepted"]
        assert (item["name"], item["reason"]) == ("陈", ACCEPT[-1])
        assert (item["sequence"], item["until"]) == (place.first_lost, place.last)
        assert item["system"].startswith("uid ")
    place.moor()
    assert place.alerts() == []
    assert "陈" in place.report("audit", "verify").out


def test_a_restore_writes_checkpoints_before_and_after(place):
    """Acts since the last anchor are written down before the older database takes over; the new head right after."""
    assert place.report("pause", "--by", "李").code == 0
    assert place.report("restore", place.kept, "--by", "李").code == 0
    *_, cut, after = read_checkpoints(place.anchors)
    assert cut.sequence > place.last
    assert cut.signature
    assert after.signature
    reported = place.verify()
    assert (reported.code, [item["until"] for item in reported.json["breaks"]]) == (1, [cut.sequence])
    assert reported.json["last"] == after.sequence
    assert sorted(place.alerts()) == ["audit_broken", "database_restored"]


def test_copied_files_do_not_hide_a_loss_of_audit_entries(place):
    """The end is missing at first; grown again, the chain is another one: both are reported, and the alert stands."""
    place.copy_over()
    reported = place.verify("--anchors", place.held)
    [lost] = reported.json["breaks"]
    assert (reported.code, lost["damage"]) == (1, "truncated")
    assert (lost["sequence"], lost["until"]) == (place.first_lost, place.last)
    assert lost["since"] <= lost["till"]
    place.moor()
    assert place.alerts() == ["audit_broken"]
    for _ in range(place.last):
        assert place.report("pause", "--by", "李").code == 0
        assert place.report("resume", "--by", "李").code == 0
    place.moor()
    reported = place.verify("--anchors", place.held)
    assert (reported.code, [item["damage"] for item in reported.json["breaks"]]) == (1, ["rewritten"])
    assert place.as_auditors().code == 1
    assert place.alerts() == ["audit_broken"]
    assert place.report("audit", "accept", "--anchors", place.held, *ACCEPT).code == 0
    assert (place.verify("--anchors", place.held).code, place.as_auditors().code) == (0, 0)
    place.moor()
    assert place.alerts() == []


@pytest.mark.parametrize("way", ["gone", "shorter"])
def test_losing_the_checkpoint_file_with_the_entries_hides_nothing(place, way):
    """Its newest anchor is kept in a second place: the alert comes, comes back, and ends with the acceptance only."""
    place.copy_over()
    lines = place.anchors.read_text("utf-8").splitlines(keepends=True)
    place.anchors.write_text("".join(lines[:1]), "utf-8") if way == "shorter" else place.anchors.unlink()
    place.moor()
    assert place.alerts() == ["audit_broken"]
    with sqlite3.connect(place.file) as connection:
        connection.execute("DELETE FROM alert")
    connection.close()
    place.moor()
    assert place.alerts() == ["audit_broken"]
    assert [item["damage"] for item in place.verify().json["breaks"]] == ["truncated"]
    assert place.report("audit", "accept", "--anchors", place.held, *ACCEPT).code == 0
    place.moor()
    assert (place.alerts(), place.verify("--anchors", place.held).code) == ([], 0)


def test_a_moved_or_restarted_checkpoint_file_raises_no_alert(place):
    """What counts is whether the database knows what was anchored, wherever that stands now."""
    place.anchors.rename(place.anchors.with_suffix(".1"))
    place.moor()
    settings = place.folder / "publisher.toml"
    settings.write_text(settings.read_text("utf-8") + '\n[audit]\ncheckpoint_file = "elsewhere.log"\n', "utf-8")
    place.moor()
    assert (place.alerts(), place.verify().code) == ([], 0)
    assert [file.exists() for file in (place.anchors, place.folder / "elsewhere.log")] == [True, True]


def test_another_database_in_its_place_is_reported(place):
    """One with another start is reported as such, whole as it is in itself, until that is accepted."""
    for file in place.folder.joinpath("var").glob("publisher.db*"):
        file.unlink()
    assert place.report("pause", "--by", "李").code == 0
    reported = place.verify("--anchors", place.held)
    assert (reported.code, [item["damage"] for item in reported.json["breaks"]]) == (1, ["other_chain"])
    place.moor()
    assert place.alerts() == ["audit_broken"]
    assert place.report("audit", "accept", "--anchors", place.held, *ACCEPT).code == 0
    assert (place.verify("--anchors", place.held).code, place.as_auditors().code) == (0, 0)
    place.moor()
    assert place.alerts() == []


def test_an_acceptance_covers_no_later_checkpoint(place):
    """Not even where a forged entry named an instant and a number far ahead."""
    place.copy_over()
    place.forge("restored", "database", {"cut": [{"sequence": 10**6, "hash": "f" * 64}]}, at=4 * 10**15)
    assert place.report("audit", "accept", "--anchors", place.held, *ACCEPT).code == 0
    assert place.report("resume", "--by", "李").code == 0
    later = {**json.loads(place.held.read_text("utf-8").splitlines()[-1]), "at": "2099-01-01T00:00:00+00:00"}
    later |= {"sequence": place.verify().json["last"], "hash": "e" * 64}
    del later["signature"]
    place.held.write_text(json.dumps(later, separators=(",", ":")) + "\n", "utf-8")
    assert place.verify("--anchors", place.held).code == 1


def test_an_alert_that_was_deleted_comes_back(place):
    """It follows from the anchors at each beat, not from a row that could be taken away."""
    place.copy_over()
    place.moor()
    with sqlite3.connect(place.file) as connection:
        connection.execute("DELETE FROM alert")
    connection.close()
    place.moor()
    assert place.alerts() == ["audit_broken"]


def test_forged_entries_have_no_effect(place):
    """Neither an announced restore nor an acceptance counts by its own word; an acceptance must bear a signature."""
    place.copy_over()
    last = list(read_checkpoints(place.held))[-1]
    place.forge("restored", "database", {"cut": [{"sequence": last.sequence, "hash": last.hash}]})
    assert [item["damage"] for item in place.verify("--anchors", place.held).json["breaks"]] == ["replaced"]
    loss = {"chain": last.chain, "sequence": 1, "until": 99, "hash": last.hash, "at": "2099-01-01T00:00:00+00:00"}
    for signature in ("", last.signature):
        place.forge("loss_accepted", "audit", {"reason": "试验", "losses": [loss], "signature": signature})
        reported = place.verify("--anchors", place.held)
        assert (reported.code, reported.json["accepted"]) == (1, [])
        assert place.as_auditors().code == 1
    place.moor()
    assert place.alerts() == ["audit_broken"]


def test_an_acceptance_needs_checkpoints_from_elsewhere_a_name_and_a_loss(place):
    """The workspace's own file does not count, and where nothing was lost there is nothing to accept."""
    assert place.report("audit", "accept", *ACCEPT).code == 2
    assert place.report("audit", "accept", "--anchors", place.held, "--reason", "试验").code == 2
    assert place.report("audit", "accept", "--anchors", place.held, *ACCEPT).code == 1
    assert place.report("restore", place.kept, "--by", "李").code == 0
    assert place.report("audit", "accept", "--anchors", place.anchors, *ACCEPT).code == 2
    assert sorted(place.alerts()) == ["audit_broken", "database_restored"]


def test_an_accepted_loss_does_not_cover_the_next(place):
    """A second restore brings the alert back, and takes an acceptance of its own."""
    assert place.report("restore", place.kept, "--by", "李").code == 0
    assert place.report("audit", "accept", "--anchors", place.held, *ACCEPT).code == 0
    assert place.verify("--anchors", place.held).code == 0
    assert place.report("restore", place.kept, "--by", "李").code == 0
    assert place.verify("--anchors", place.held).code == 1
    assert "audit_broken" in place.alerts()


def test_a_checkpoint_is_signed_and_a_forged_one_is_reported(place):
    """Anyone who can write the file but not the key can neither change a line nor add one, signed or bare."""
    lines = place.held.read_text("utf-8").splitlines()
    assert place.verify("--key", place.key, "--anchors", place.held).json["signed"] == 2 * len(lines)
    row = json.loads(lines[-1])
    bare = {name: value for name, value in row.items() if name != "signature"}
    for forged in ({**row, "sequence": row["sequence"] - 1}, {**row, "signature": "AAAA"}, bare):
        place.held.write_text("\n".join([*lines, json.dumps(forged, separators=(",", ":"))]) + "\n", "utf-8")
        reported = place.verify("--anchors", place.held)
        assert (reported.code, [item["damage"] for item in reported.json["breaks"]]) == (1, ["forged_checkpoint"])
    other = "A" * 43 + "="
    place.held.write_text("\n".join(lines) + "\n", "utf-8")
    file = place.folder.parent / "export.jsonl"
    assert place.report("audit", "export", file).code == 0
    assert place.run("audit", "verify", "--file", file, "--key", other, "--anchors", place.held).code == 1
    assert place.run("audit", "verify", "--file", file, "--key", place.key, "--anchors", place.held).code == 0


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_old_checkpoints_without_a_signature_are_accepted_and_reported_as_such(place, lang):
    """They were written before there were keys, and still show what was lost."""
    rows = [json.loads(line) for line in place.held.read_text("utf-8").splitlines()]
    bare = [{name: value for name, value in row.items() if name != "signature"} for row in rows]
    place.held.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in bare), "utf-8")
    reported = place.verify("--lang", lang, "--anchors", place.held)
    assert (reported.code, reported.json["unsigned"]) == (0, len(bare))
    assert ("没有签名" if lang == "zh_CN" else "no signature") in reported.err
    place.anchors.unlink()
    place.copy_over()
    assert [item["damage"] for item in place.verify("--anchors", place.held).json["breaks"]] == ["truncated"]


def test_the_key_is_a_secret_and_the_public_one_can_be_given_as_a_file(place):
    """It is made once, kept in the encrypted store, and shown to nobody."""
    assert place.report("audit", "key").out.strip() == place.key
    assert "audit-key" in place.report("secret", "list").out
    file = place.folder.parent / "public"
    file.write_text(place.key + "\n", "ascii")
    assert place.verify("--key", file, "--anchors", place.held).code == 0
    assert place.verify("--key", "x").code == 2
