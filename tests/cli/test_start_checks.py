"""`check` finds what `run` would refuse at its start, and what cannot work."""

import re

import pytest

from publisher.store.db.intent_journal import IntentJournal, JournalRecord
from tests.ports import free_port

CALL = JournalRecord(
    delivery=7,
    attempt=1,
    fencing_token=1,
    rendered_hash="f",
    at="2026-11-25T01:00:00+00:00",
    post="p",
    occurrence="once",
    account="a",
    part=0,
    identity="a",
    method="",
)


def edit_settings(workspace, before, after):
    """Replace a part of publisher.toml, once."""
    file = workspace / "publisher.toml"
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after, 1), "utf-8")


def add_settings(workspace, text):
    with (workspace / "publisher.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def find_errors(checked):
    """Return the errors of a check in JSON, by code."""
    return {
        problem["code"]: problem
        for problem in checked.json["problems"]
        if problem["severity"] == "error"
    }


def test_a_workspace_that_can_work_passes(run, workspace):
    """The live workspace of these tests has none of the errors below."""
    assert find_errors(run("-C", workspace, "check", "--json")) == {}


def test_approvals_without_users_are_an_error(run, workspace):
    """`run` refuses approvals that nobody could give."""
    add_settings(workspace, '[[approvals.warning]]\nstage = "初审"\nrole = "approver"')
    checked = run("-C", workspace, "check", "--json")
    assert checked.code == 1
    assert find_errors(checked)["approvals_need_users"]["path"] == "approvals.warning"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("weibo-beijing", '{"BDUSS": "x", "STOKEN": "y"}', "secret_fields_missing"),
        ("wechat-beijing", "no JSON", "secret_not_json"),
    ],
    ids=["fields of another platform", "no JSON"],
)
def test_f43_a_secret_that_cannot_work_is_an_error(run, workspace, name, content, code):
    """F43: a secret in place is read, and is an error if no sign-in could work with it."""
    (workspace / "secrets" / name).write_text(content, "utf-8")
    checked = run("-C", workspace, "check", "--json")
    assert checked.code == 1
    assert find_errors(checked)[code]["path"].endswith(".secret")
    assert "BDUSS" not in checked.out


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ('identity = "1000000001"', "weibo_identity_no_uid"),
        ('identity = "wx0000000000000001"', "wechat_identity_no_app_id"),
    ],
    ids=["weibo", "wechat"],
)
def test_an_identity_of_the_wrong_form_is_an_error(run, workspace, before, code):
    """A name in the place of a uid or an AppID is an error at its line."""
    edit_settings(workspace, before, 'identity = "平安北京"')
    problem = find_errors(run("-C", workspace, "check", "--json"))[code]
    assert problem["path"].endswith(".identity")
    assert problem["line"] > 1


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ('[audit]\ncheckpoint_file = "far/a.log"', "checkpoint_folder_missing"),
        ('[alerts]\nca_file = "far/ca.pem"', "ca_file_missing"),
    ],
    ids=["checkpoints", "certificates"],
)
def test_a_missing_folder_or_file_of_a_setting_is_an_error(
    run, workspace, setting, code
):
    """What the daemon could not write, or read, is named at its key."""
    add_settings(workspace, setting)
    checked = run("-C", workspace, "check", "--json")
    assert checked.code == 1
    assert find_errors(checked)[code]["line"] > 1


def test_f95_a_database_of_another_environment_is_an_error(run, drill):
    """F95: `run` refuses it, so `check` does, at the key that differs."""
    assert run("-C", drill, "migrate").code == 0
    edit_settings(drill, 'environment = "drill"', 'environment = "live"')
    checked = run("-C", drill, "check", "--json")
    assert checked.code == 1
    problem = find_errors(checked)["other_environment"]
    assert problem["path"] == "environment"


def test_a_missing_line_of_a_region_is_shown_at_the_region(run, workspace):
    """The place is the region's table, not the first line of the file."""
    file = workspace / "publisher.toml"
    lines = file.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not re.match(r"(tip_line|police) = ", line)]
    file.write_text("".join(kept), "utf-8")
    errors = find_errors(run("-C", workspace, "check", "--json"))
    header = kept.index(next(line for line in kept if line.startswith("[region."))) + 1
    for code in ("region_without_police", "region_without_tip_line"):
        assert errors[code]["line"] >= header
        assert errors[code]["path"].startswith("region.")


@pytest.mark.parametrize("is_broken", [False, True])
def test_the_summary_counts_all_accounts_that_are_written(run, workspace, is_broken):
    """Accounts are counted even if they are broken, or no post goes to them."""
    (workspace / "schedule.toml").write_text("post = []\n", "utf-8")
    if is_broken:
        edit_settings(workspace, 'platform = "weibo"', 'platform = ""')
    checked = run("-C", workspace, "--lang", "en", "check")
    assert checked.code == int(is_broken)
    assert "accounts: 5" in checked.err


def test_a_database_that_does_not_answer_is_a_warning(run, workspace):
    """`check` says what it could not compare; an error it is not, as the daemon may reach it."""
    text = (workspace / "publisher.toml").read_text("utf-8")
    url = f"postgresql://publisher@127.0.0.1:{free_port()}/publisher"
    text = re.sub("^database = .*\n", "", text, flags=re.MULTILINE)
    text = f'database = "{url}"\n{text}'
    (workspace / "publisher.toml").write_text(text, "utf-8")
    checked = run("-C", workspace, "check", "--json")
    [unread] = [
        problem
        for problem in checked.json["problems"]
        if problem["code"] == "database_not_compared"
    ]
    assert (unread["severity"], unread["path"]) == ("warning", "database")
    assert find_errors(checked) == {}


@pytest.mark.long
@pytest.mark.parametrize("knows_calls", [True, False])
def test_f85_an_empty_database_whose_journal_knows_calls_is_said_to_be_empty(
    run, workspace, postgres_server, knows_calls
):
    """No users are asked for: the backup that has them is to be put back."""
    name = postgres_server.create()
    url = postgres_server.url_of(name)
    file = workspace / "publisher.toml"
    text = re.sub("^database = .*\n", "", file.read_text("utf-8"), flags=re.MULTILINE)
    file.write_text(f'database = "{url}"\n{text}', "utf-8")
    add_settings(workspace, '[[approvals.warning]]\nstage = "初审"\nrole = "approver"')
    if knows_calls:
        journal = IntentJournal(workspace / "var" / "intents.jsonl")
        journal.append([CALL])
        journal.close()
    code = "database_empty" if knows_calls else "approvals_need_users"
    # the first time there is no table, the second time there are those that `run` has made
    for _ in range(2):
        found = find_errors(run("-C", workspace, "check", "--json"))
        assert {"database_empty", "approvals_need_users"} & found.keys() == {code}
        refused = run("-C", workspace, "--lang", "en", "run", "--once")
        assert refused.code == (3 if knows_calls else 1)
        assert ("is empty" in refused.err) is knows_calls, refused.err
    postgres_server.drop(name)
