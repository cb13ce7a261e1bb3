"""`user`, and the way a person's commands find the acting user."""

import contextlib
import io
import json
import re
import sqlite3
from pathlib import Path

import pyotp
import pytest

import publisher
from publisher.cli.authentication import system_user_name
from publisher.engine.authentication import RECOVERY_CODES
from publisher.secrets import USER_KEY_NAME, Vault
from publisher.store.people.attempts import FREE_ATTEMPTS_OF_USER, MAX_DELAY_OF_USER
from tests.cli.conftest import TO_WEIBO
from tests.cli.posts import warning, write_schedule

PASSWORD, OTHER_PASSWORD = "correct horse battery", "staple horse correct"
LINK = re.compile(r"^http\S+/setup#([\w-]{43})$", re.MULTILINE)
TOKEN = re.compile(r"^publisher-[\w-]{43}$", re.MULTILINE)


@pytest.fixture
def ask(run, drill, monkeypatch):
    """Return a function that runs a command on the drill, with input lines and a token, if any."""

    def run_with(*arguments, lines=(), token=None):
        monkeypatch.setattr(
            "sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines))
        )
        if token:
            monkeypatch.setenv("PUBLISHER_TOKEN", token)
        else:
            monkeypatch.delenv("PUBLISHER_TOKEN", raising=False)
        return run("-C", drill, "--lang", "en", *arguments)

    return run_with


@pytest.fixture
def enrol(ask):
    """Return a function that adds a user and sets a password with the one-time link."""

    def add_user(name, *roles, by=None, password=PASSWORD):
        given = [part for role in roles for part in ("--role", role)]
        named = ("--by", by) if by else ()
        added = ask("user", "add", name, *given, *named, lines=[PASSWORD])
        assert added.code == 0, added.err
        [link] = LINK.findall(added.out)
        activated = ask("user", "activate", lines=[link, password])
        assert activated.code == 0, activated.err
        return link

    return add_user


@pytest.fixture
def issue_token(ask):
    """Return a function that signs a user in with the password and returns a limited token.

    It has the given permissions.
    """

    def issue(name, *scope):
        given = [part for permission in scope for part in ("--scope", permission)]
        issued = ask("user", "token", name, *given, lines=[PASSWORD])
        assert issued.code == 0, issued.err
        [token] = TOKEN.findall(issued.out)
        return token

    return issue


def audit_of(ask, drill):
    """Return the audit entries, oldest first."""
    file = drill / "exported.jsonl"
    assert ask("audit", "export", str(file)).code == 0
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()[1:]]


def test_names_are_as_given_until_there_are_users(ask):
    """Without users nobody is asked for anything, and the list says how to add the first."""
    assert ask("pause", "--by", "anybody").code == 0
    listed = ask("user", "list")
    assert (listed.code, "user add" in listed.out) == (0, True)
    assert ask("user", "list", "--json").json == {"users": []}
    assert ask("user", "token", "anybody", "--scope", "stop").code == 1


def test_a_link_sets_a_password_and_that_signs_in(ask, enrol):
    """The first user is an administrator; the link works once, and the password from then on."""
    assert ask("user", "add", "wang", "--role", "author").code == 3
    link = enrol("zhang", "admin", "operator")
    assert ask("user", "activate", lines=[link, OTHER_PASSWORD]).code == 1
    assert ask("resume", "--by", "zhang", lines=[PASSWORD]).code == 0
    for lines in ([OTHER_PASSWORD], [""], []):
        assert ask("resume", "--by", "zhang", lines=lines).code == 3
    assert ask("resume", "--by", "nobody", lines=[PASSWORD]).code == 3
    [row] = ask("user", "list", "--json").json["users"]
    assert row == {
        "name": "zhang", "roles": ["admin", "operator"], "state": "enabled", "has_password": True,
        "has_second_factor": False, "sessions": 0, "tokens": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dashboard", "address"),
    [
        ("", "http://127.0.0.1:8700"),
        ('url = "http://fabu.example:8700/"', "http://fabu.example:8700"),
        ('listen = "127.0.0.1:9000"', "http://127.0.0.1:9000"),
    ],
)
def test_the_link_is_printed_with_the_address_of_the_dashboard(
    ask, drill, dashboard, address
):
    """A browser opens the printed link as it stands: the page, then `#` and the secret."""
    settings = drill / "publisher.toml"
    settings.write_text(
        f"{settings.read_text('utf-8').rstrip()}\n{dashboard}\n", "utf-8"
    )
    added = ask("user", "add", "zhang", "--role", "admin")
    assert re.search(
        rf"^{re.escape(address)}/setup#[\w-]{{43}}$", added.out, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("short", "too short"),
        ("a" * 40, "easily guessed"),
        ("x1y2" * 90, "at most 256"),
    ],
)
def test_a_bad_password_leaves_the_link_open(ask, password, message):
    """A short, repetitive or long password is refused; the same link works afterwards."""
    [link] = LINK.findall(ask("user", "add", "zhang", "--role", "admin").out)
    refused = ask("user", "activate", lines=[link, password])
    assert (refused.code, message in refused.err) == (1, True)
    assert (
        ask("user", "activate", lines=[f"https://host/setup#{link}", PASSWORD]).code
        == 0
    )


def test_roles_are_limited_to_accounts(ask, enrol, issue_token, drill):
    """A user limited to one platform acts on its posts, and on no post that also goes elsewhere."""
    write_schedule(drill, warning("here", to=TO_WEIBO), warning("everywhere"))
    assert ask("reload").code == 0
    enrol("zhang", "admin")
    enrol("wang", "author@platform:weibo", by="zhang")
    token = issue_token("wang", "stop", "send")
    assert ask("cancel", "here", "--by", "wang", "--reason", "x", token=token).code == 0
    assert (
        ask("cancel", "everywhere", "--by", "wang", "--reason", "x", token=token).code
        == 3
    )
    assert ask("pause", "platform:weibo", "--by", "wang", token=token).code == 0
    assert ask("pause", "beijing-tieba", "--by", "wang", token=token).code == 3
    assert ask("pause", "all", "--by", "wang", token=token).code == 3
    assert (
        ask(
            "user",
            "add",
            "li",
            "--role",
            "author@no-such",
            "--by",
            "zhang",
            lines=[PASSWORD],
        ).code
        == 2
    )


def test_a_token_names_its_user_and_does_no_more_than_its_scope(
    ask, enrol, issue_token
):
    """With a token --by may be left out where it is optional, and cannot name somebody else."""
    enrol("zhang", "admin", "operator")
    token = issue_token("zhang", "stop")
    assert ask("pause", "--by", "zhang", token=token).code == 0
    refused = ask("pause", "--by", "wang", token=token)
    assert (refused.code, "is of zhang" in refused.err) == (3, True)
    narrow = ask("resume", "--by", "zhang", token=token)
    assert (
        narrow.code,
        "publisher user token zhang --scope operate" in narrow.err,
    ) == (3, True)
    assert ask("secret", "rotate", token=issue_token("zhang", "credentials")).code != 3
    assert ask("resume", "--by", "zhang", token="publisher-unknown").code == 3
    prolonged = ask("user", "token", "zhang", "--scope", "stop", token=token)
    assert (prolonged.code, TOKEN.findall(prolonged.out)) == (3, [])


@pytest.mark.long
def test_a_disabled_user_and_one_who_was_reset_are_out_at_once(ask, enrol, issue_token):
    """A disabled or reset user's tokens and passwords end; enabling gives the old password back.

    A reset gives a new link.
    """
    enrol("zhang", "admin")
    enrol("wang", "operator", by="zhang")
    token = issue_token("wang", "stop", "operate")
    assert ask("user", "disable", "wang", "--by", "zhang", lines=[PASSWORD]).code == 0
    assert ask("resume", "--by", "wang", token=token).code == 3
    assert ask("resume", "--by", "wang", lines=[PASSWORD]).code == 3
    assert ask("user", "enable", "wang", "--by", "zhang", lines=[PASSWORD]).code == 0
    assert ask("resume", "--by", "wang", token=token).code == 3
    assert ask("resume", "--by", "wang", lines=[PASSWORD]).code == 0
    reset = ask("user", "reset", "wang", "--by", "zhang", lines=[PASSWORD])
    assert ask("resume", "--by", "wang", lines=[PASSWORD]).code == 3
    assert (
        ask("user", "activate", lines=[*LINK.findall(reset.out), OTHER_PASSWORD]).code
        == 0
    )
    assert ask("resume", "--by", "wang", lines=[OTHER_PASSWORD]).code == 0
    assert ask("user", "disable", "zhang", "--by", "zhang", lines=[PASSWORD]).code == 3
    assert (
        ask(
            "user",
            "change",
            "zhang",
            "--role",
            "viewer",
            "--by",
            "zhang",
            lines=[PASSWORD],
        ).code
        == 3
    )


def test_a_user_replaces_the_password_with_the_old_one(ask, enrol, issue_token):
    """The old password is asked for; a token is not enough, and the new one signs in.

    Sessions and tokens end.
    """
    enrol("zhang", "admin", "operator")
    token = issue_token("zhang", "operate")
    assert (
        ask(
            "user",
            "password",
            "zhang",
            lines=[OTHER_PASSWORD, OTHER_PASSWORD],
            token=token,
        ).code
        == 3
    )
    assert ask("user", "password", "zhang", lines=[PASSWORD, "short"]).code == 1
    assert ask("resume", "--by", "zhang", token=token).code == 0
    assert ask("user", "password", "zhang", lines=[PASSWORD, OTHER_PASSWORD]).code == 0
    assert ask("resume", "--by", "zhang", token=token).code == 3
    assert ask("resume", "--by", "zhang", lines=[PASSWORD]).code == 3
    assert ask("resume", "--by", "zhang", lines=[OTHER_PASSWORD]).code == 0


@pytest.fixture
def with_second_factor(ask, drill, monkeypatch):
    """Return the second factor and recovery codes of the first user, `zhang`.

    The first code is used already.
    """
    [link] = LINK.findall(
        ask("user", "add", "zhang", "--role", "admin", "--role", "operator").out
    )
    made = []

    class AnsweringInput(io.StringIO):
        """Standard input with the code of the key printed meanwhile as its last line."""

        def readline(self, *_size):
            if line := super().readline():
                return line
            [factor] = made
            return f"{pyotp.TOTP(factor.secret).now()}\n"

    def make(name):
        from publisher.engine import authentication  # noqa: PLC0415 # the real one, not this

        made.append(authentication.make_second_factor(name))
        return made[0]

    monkeypatch.setattr("publisher.cli.commands.user.make_second_factor", make)
    monkeypatch.setattr("tests.cli.test_user.io.StringIO", AnsweringInput)
    activated = ask("user", "activate", "--second-factor", lines=[link, PASSWORD])
    monkeypatch.undo()
    assert activated.code == 0, activated.err
    with contextlib.closing(
        sqlite3.connect(drill / "var" / "publisher.db")
    ) as database:
        # as if the code of the activation were long ago
        database.execute("UPDATE auth_user SET totp_step = 0")
        database.commit()
    return made[0].secret, re.findall(
        r"^  ([A-Z2-7-]{29})$", activated.out, re.MULTILINE
    )


def present_code(secret):
    return pyotp.TOTP(secret).now()


def test_a_code_and_a_recovery_code_work_once(ask, with_second_factor, drill):
    """With a second factor the password is not enough; a code or a recovery code works once."""
    secret, recovery_codes = with_second_factor
    assert len(recovery_codes) == RECOVERY_CODES
    assert ask("resume", "--by", "zhang", lines=[PASSWORD]).code == 3
    code = present_code(secret)
    wide = code.translate({ord("0") + digit: ord("０") + digit for digit in range(10)})
    assert ask("resume", "--by", "zhang", lines=[PASSWORD, "验证码"]).code == 3
    assert ask("resume", "--by", "zhang", lines=[PASSWORD, wide]).code == 0
    assert ask("resume", "--by", "zhang", lines=[PASSWORD, code]).code == 3
    assert (
        ask("resume", "--by", "zhang", lines=[PASSWORD, recovery_codes[0].lower()]).code
        == 0
    )
    assert ask("resume", "--by", "zhang", lines=[PASSWORD, recovery_codes[0]]).code == 3
    assert secret.encode() not in (drill / "var" / "publisher.db").read_bytes()


def test_without_its_key_a_second_factor_fails_clearly_and_recovery_codes_work(
    ask, with_second_factor, drill
):
    """Without its key a second factor fails; only recovery codes and a reset help.

    The key is in the encrypted store, not in the database.
    """
    secret, recovery_codes = with_second_factor
    (drill / "var" / "vault.json").write_text("{}", "ascii")
    refused = ask("resume", "--by", "zhang", lines=[PASSWORD, present_code(secret)])
    assert (refused.code, "user-key" in refused.err) == (3, True)
    assert ask("resume", "--by", "zhang", lines=[PASSWORD, recovery_codes[1]]).code == 0


def test_what_is_no_utf8_is_wrong_and_no_crash(ask, enrol):
    """A password, link or token of bytes that are no text is refused, without a crash.

    A terminal of another encoding gives such bytes.
    """
    enrol("zhang", "admin", "operator")
    broken = b"\xd6\xd0\xce\xc4 password".decode("utf-8", "surrogateescape")
    assert ask("resume", "--by", "zhang", lines=[broken]).code == 3
    assert ask("resume", "--by", "zhang", token=broken).code == 3
    assert ask("user", "activate", lines=[broken, PASSWORD]).code == 1


def test_guessing_makes_the_guesser_wait(ask, enrol, monkeypatch):
    """After some wrong passwords the next attempt is refused with exit 1, even the right one."""
    enrol("zhang", "admin", "operator")
    monkeypatch.setattr(
        "publisher.store.people.attempts.backoff_delay", lambda *_: MAX_DELAY_OF_USER
    )
    wrong = [
        ask("resume", "--by", "zhang", lines=[OTHER_PASSWORD]).code
        for _ in range(FREE_ATTEMPTS_OF_USER)
    ]
    assert wrong == [3] * FREE_ATTEMPTS_OF_USER
    refused = ask("resume", "--by", "zhang", lines=[PASSWORD])
    assert (refused.code, "try again in" in refused.err) == (1, True)


def test_failed_sign_ins_are_shown_at_the_next_one(ask, enrol):
    """At a sign-in a person sees once the number and the source of failed ones since the last."""
    enrol("zhang", "admin", "operator")
    for _ in range(2):
        ask("resume", "--by", "zhang", lines=[OTHER_PASSWORD])
    first, later = (ask("resume", "--by", "zhang", lines=[PASSWORD]) for _ in range(2))
    assert (
        "Failed attempts to sign in since the last time: 2, the latest at" in first.err
    )
    assert "Failed attempts" not in later.err


def test_what_is_refused_is_in_the_audit(ask, enrol, issue_token, drill):
    """Refused passwords, tokens and actions without a role leave an entry each, with the source.

    The entry has the kind of the refusal, too.
    """
    enrol("zhang", "admin", "operator")
    enrol("wang", "viewer", by="zhang")
    token = issue_token("wang", "view")
    ask("resume", "--by", "wang", lines=[OTHER_PASSWORD])
    ask("resume", "--by", "zhang", token=token)
    ask("resume", "--by", "wang", token=token)
    ask("resume", "--by", "nobody", lines=[OTHER_PASSWORD])
    ask("resume", "--by", "wang", token=f"{token}x")
    entries = [
        entry for entry in audit_of(ask, drill) if entry["event"].endswith("_refused")
    ]
    assert [(entry["subject"], entry["event"]) for entry in entries] == [
        ("user:wang", "password_refused"), ("user:wang", "token_refused"),
        ("user:wang", "action_refused"),
        ("user:?", "password_refused"), ("user:?", "token_refused"),
    ]  # fmt: skip
    assert "nobody" not in json.dumps(entries)


@pytest.mark.parametrize("name", ["a/b", "..", "a%2Fb", "a\\b"])
def test_a_name_that_breaks_addresses_is_refused(ask, name):
    """The first user too: nobody is added, and another name may be given."""
    refused = ask("user", "add", name, "--role", "admin")
    assert (refused.code, "cannot be used" in refused.err) == (1, True)
    assert ask("user", "list", "--json").json == {"users": []}


@pytest.mark.long
def test_i19_what_signs_in_is_shown_once_and_stored_nowhere(
    ask, enrol, issue_token, drill
):
    """Passwords, tokens and links are in no output of later commands and in no file.

    This includes wrong ones.
    """
    link = enrol("zhang", "admin", "operator")
    token = issue_token("zhang", "stop", "operate")
    shown = [
        ask("resume", "--by", "zhang", token=token),
        ask("resume", "--by", "wang", token=token),
        ask("resume", "--by", "zhang", token=f"{token}x"),
        ask("resume", "--by", "zhang", lines=[PASSWORD]),
        ask("resume", "--by", "zhang", lines=[OTHER_PASSWORD]),
        ask("user", "activate", lines=[link, PASSWORD]),
        ask("user", "list"),
        ask("status", "--json"),
        ask("alerts"),
    ]
    text = "".join(result.out + result.err for result in shown)
    stored = b"".join(
        file.read_bytes() for file in (drill / "var").rglob("*") if file.is_file()
    )
    assert [
        secret for secret in (link, token, PASSWORD, OTHER_PASSWORD) if secret in text
    ] == []
    assert [
        secret
        for secret in (link, token, PASSWORD, OTHER_PASSWORD)
        if secret.encode() in stored
    ] == []


def test_the_owner_of_the_workspace_may_pause_and_reset_without_sign_in(
    ask, enrol, drill
):
    """Breaking the glass works, and leaves a red alert and an audit entry with the system user."""
    enrol("zhang", "admin")
    assert ask("pause", "--by", "night shift").code == 0
    assert ask("status", "--json").json["paused"][0]["scope"] == "all"
    assert (
        len(LINK.findall(ask("user", "reset", "zhang", "--by", "night shift").out)) == 1
    )
    alerts = [
        alert
        for alert in ask("alerts", "--json").json["alerts"]
        if alert["code"] == "break_glass"
    ]
    assert len(alerts) == 2
    assert all(
        f"system user {system_user_name()} ran" in alert["message"] for alert in alerts
    )
    broken = [
        entry for entry in audit_of(ask, drill) if entry["event"] == "break_glass"
    ]
    assert [(entry["name"], entry["subject"]) for entry in broken] == [
        ("night shift", "command:pause"),
        ("night shift", "user:zhang"),
    ]
    assert ask("resume", "--by", "night shift").code == 3


def test_an_expired_token_does_not_keep_the_owner_from_stopping(ask, enrol):
    """An expired token counts as none: the owner pauses without sign-in, others are refused."""
    enrol("zhang", "admin")
    assert ask("pause", "--by", "zhang", token="publisher-expired").code == 0
    assert [alert["code"] for alert in ask("alerts", "--json").json["alerts"]] == [
        "break_glass"
    ]


@pytest.mark.parametrize(("name", "scope"), [("wang", "stop"), ("zhang", "view")])
def test_an_owner_whose_token_will_not_do_sees_how_to_break_the_glass(
    ask, enrol, issue_token, name, scope
):
    """A token of another, or without the permission, exits 3; left out, the command works."""
    enrol("zhang", "admin")
    enrol("wang", "operator", by="zhang")
    token = issue_token(name, scope)
    for command in (
        ("pause", "--by", "zhang"),
        ("user", "reset", "wang", "--by", "zhang"),
    ):
        refused = ask(*command, token=token)
        assert (refused.code, "PUBLISHER_TOKEN= publisher" in refused.err) == (
            3,
            True,
        ), refused.err
        assert ask(*command).code == 0
    assert [alert["code"] for alert in ask("alerts", "--json").json["alerts"]] == [
        "break_glass"
    ] * 2


def test_nobody_else_sees_how_to_break_the_glass(ask, enrol, issue_token, monkeypatch):
    """Another system user is only refused; so is the owner at a command that needs a sign-in."""
    enrol("zhang", "admin")
    token = issue_token("zhang", "view")
    assert "PUBLISHER_TOKEN=" not in ask("resume", "--by", "zhang", token=token).err
    monkeypatch.setattr(
        "publisher.cli.authentication.is_system_owner", lambda _workspace, _uid: False
    )
    refused = ask("pause", "--by", "zhang", token=token)
    assert (refused.code, "PUBLISHER_TOKEN=" in refused.err) == (3, False)


def test_another_system_user_cannot_break_the_glass(ask, enrol, monkeypatch):
    """Only the owner of the workspace's folder needs no sign-in to pause."""
    enrol("zhang", "admin")
    monkeypatch.setattr(
        "publisher.cli.authentication.is_system_owner", lambda _workspace, _uid: False
    )
    assert ask("pause", "--by", "night shift").code == 3
    assert ask("user", "reset", "zhang", "--by", "night shift").code == 3
    assert ask("status", "--json").json["paused"] == []


SECRET = '{"url": "wecombot://4711-canary"}'


def test_a_secret_comes_from_a_file_and_the_password_from_standard_input(
    ask, enrol, drill, tmp_path
):
    """Without a terminal, `--file` leaves standard input to the password; it works before it, too.

    The lines before the secret work as for any command.
    """
    enrol("zhang", "admin", "operator")
    file = tmp_path / "secret.json"
    file.write_text(SECRET, "utf-8")
    order = ("secret", "set", "alert-duty", "--by", "zhang")
    assert ask(*order, "--file", file, lines=[OTHER_PASSWORD]).code == 3
    assert ask("secret", "list").out == "The encrypted store is empty\n"
    stored = ask(*order, "--file", file, lines=[PASSWORD])
    assert (stored.code, "canary" in stored.out + stored.err) == (0, False)
    assert ask(*order, lines=[PASSWORD, SECRET]).code == 0
    assert Vault(folder=drill / "var").read("alert-duty") == json.loads(SECRET)


def test_a_secret_is_never_taken_for_a_password(ask, enrol):
    """A piped secret without a password before it is no failed sign-in; the hint says what to do."""
    enrol("zhang", "admin", "operator")
    order = ("secret", "set", "alert-duty", "--by", "zhang")
    refused = ask(*order, lines=[SECRET])
    assert (refused.code, "--file" in refused.err) == (3, True)
    assert "canary" not in refused.out + refused.err
    resumed = ask("resume", "--by", "zhang", lines=[PASSWORD])
    assert "failed" not in resumed.err.casefold()


@pytest.mark.parametrize("content", [b"", b"oops", b"\xc3\xdc"])
def test_a_file_without_a_secret_stores_nothing(ask, tmp_path, content):
    """A file that is empty, no JSON, or in GBK is named; so is one that is not there."""
    file = tmp_path / "secret.json"
    file.write_bytes(content)
    refused = ask("secret", "set", "spare", "--file", file)
    assert (refused.code, "secret.json" in refused.err) == (1, True)
    missing = ask("secret", "set", "spare", "--file", tmp_path / "none.json")
    assert (missing.code, "none.json" in missing.err) == (1, True)
    assert ask("secret", "list", "--file", file).code == 2


def test_who_leaves_is_out_and_leaves_a_list(
    ask, enrol, issue_token, drill, monkeypatch
):
    """Tokens of a departing user end; accounts and secrets are listed.

    Each secret stays an alert until it is replaced.
    """
    write_schedule(drill, warning("refund", to=TO_WEIBO))
    enrol("zhang", "admin", "operator")
    enrol("wang", "operator", by="zhang")
    token = issue_token("wang", "operate", "credentials", "stop")
    secret = '{"app_key": "1", "app_secret": "2", "access_token": "3"}'
    assert (
        ask(
            "mode", "beijing-tieba", "off", "--by", "wang", "--reason", "x", token=token
        ).code
        == 0
    )
    assert (
        ask("secret", "set", "spare", "--by", "wang", token=token, lines=[secret]).code
        == 0
    )
    monkeypatch.setattr(
        "publisher.engine.departure.is_system_owner", lambda _workspace, _uid: False
    )
    left = ask("user", "leave", "wang", "--by", "zhang", lines=[PASSWORD])
    assert left.code == 0
    assert "tokens: 1" in left.out
    assert "beijing-tieba" in left.out
    assert "publisher secret set spare" in left.out
    assert (
        ask(
            "mode",
            "beijing-tieba",
            "settings",
            "--by",
            "wang",
            "--reason",
            "x",
            token=token,
        ).code
        == 3
    )
    due = [
        alert
        for alert in ask("alerts", "--json").json["alerts"]
        if alert["code"] == "rotation_due"
    ]
    assert [alert["subject"] for alert in due] == ["secret:spare"]
    assert due[0]["message"].endswith("publisher secret set spare")
    replaced = issue_token("zhang", "credentials")
    assert (
        ask(
            "secret", "set", "spare", "--by", "zhang", token=replaced, lines=[secret]
        ).code
        == 0
    )
    assert [alert["code"] for alert in ask("alerts", "--json").json["alerts"]] == []


def test_a_person_whose_command_reads_a_secret_is_noted(ask, enrol, drill):
    """A phone preview reads the account's secret, and the audit names the person."""
    write_schedule(drill, warning("refund"))
    enrol("zhang", "admin", "author")
    preview = (
        "preview",
        "refund",
        "--account",
        "beijing-wechat",
        "--to",
        "someone",
        "--by",
        "zhang",
    )
    assert ask(*preview, lines=[PASSWORD]).code == 1  # nobody serves the platform
    read = [entry for entry in audit_of(ask, drill) if entry["event"] == "secret_read"]
    assert [(entry["name"], entry["subject"]) for entry in read] == [
        ("zhang", "secret:beijing-wechat")
    ]


def test_accounts_of_a_post_count_as_touched(ask, enrol, issue_token, drill):
    """A person's cancellation of a post counts as an action on all its accounts."""
    write_schedule(drill, warning("refund"))
    assert ask("reload").code == 0
    enrol("zhang", "admin")
    enrol("wang", "author", by="zhang")
    assert (
        ask(
            "cancel",
            "refund",
            "--by",
            "wang",
            "--reason",
            "x",
            token=issue_token("wang", "stop"),
        ).code
        == 0
    )
    left = ask("user", "leave", "wang", "--by", "zhang", lines=[PASSWORD])
    [line] = re.findall(r"^Accounts acted on: (.+)$", left.out, re.MULTILINE)
    assert set(re.split(r"[、,] *", line)) == {
        "beijing-weibo",
        "beijing-wechat",
        "beijing-tieba",
    }


def test_an_approver_for_a_stage_that_is_not_configured_is_noted(ask, enrol):
    """Users come before the settings that need them, so an unknown stage is no error."""
    enrol("zhang", "admin")
    added = ask(
        "user",
        "add",
        "li",
        "--role",
        "approver:初审",
        "--by",
        "zhang",
        lines=[PASSWORD],
    )
    assert (added.code, "初审" in added.err) == (0, True)


def test_who_acted_as_the_owner_could_read_every_secret(ask, enrol, issue_token, drill):
    """A person with commands as the workspace's owner had all platform secrets within reach."""
    Vault(folder=drill / "var").write(USER_KEY_NAME, {"key": "no platform replaces it"})
    enrol("zhang", "admin")
    enrol("wang", "operator", by="zhang")
    assert ask("pause", "--by", "wang", token=issue_token("wang", "stop")).code == 0
    left = ask("user", "leave", "wang", "--by", "zhang", lines=[PASSWORD])
    assert "can read every secret" in left.out
    replaced = set(re.findall(r"secret set ([\w-]+)", left.out))
    assert {"beijing-weibo", "beijing-wechat", "beijing-tieba"} <= replaced
    assert USER_KEY_NAME not in replaced


def test_the_audit_says_how_a_person_signed_in(ask, enrol, issue_token, drill):
    """Each entry of a signed-in person names the method.

    No link, password or token is in database or audit.
    """
    link = enrol("zhang", "admin", "operator")
    token = issue_token("zhang", "stop")
    ask("pause", "--by", "zhang", token=token)
    ask("resume", "--by", "zhang", lines=[PASSWORD])
    entries = audit_of(ask, drill)
    methods = {
        entry["event"]: json.loads(entry["detail"]).get("sign_in") for entry in entries
    }
    assert methods["user_activated"] == "one-time link"
    assert methods["paused"] == "token 1"
    assert methods["resumed"] == methods["token_issued"] == "password"
    stored = b"".join(
        file.read_bytes() for file in (drill / "var").glob("publisher.db*")
    )
    assert [text for text in (link, token, PASSWORD) if text.encode() in stored] == []


def test_after_a_restore_nobody_signs_in_before_being_enabled(
    ask, enrol, issue_token, drill, tmp_path
):
    """After a restore tokens are void, and the owner enables each user by name.

    A backup may hold users that have left since.
    """
    enrol("zhang", "admin", "operator")
    token = issue_token("zhang", "recover", "stop")
    backup = tmp_path / "backup.db"
    assert ask("backup", str(backup)).code == 0
    restored = ask(
        "restore", str(backup), "--without-journal", "--by", "zhang", token=token
    )
    assert restored.code == 0, restored.err
    assert [row["state"] for row in ask("user", "list", "--json").json["users"]] == [
        "suspended"
    ]
    assert ask("resume", "--by", "zhang", token=token).code == 3
    assert ask("resume", "--by", "zhang", lines=[PASSWORD]).code == 3
    assert "users_suspended" in [
        alert["code"] for alert in ask("alerts", "--json").json["alerts"]
    ]
    assert ask("user", "enable", "zhang", "--by", "root of the night").code == 0
    assert ask("resume", "--by", "zhang", lines=[PASSWORD]).code == 0


def lose_and_restore(ask, drill, tmp_path):
    """Back the database up, lose it, and let its owner restore it."""
    backup = tmp_path / "backup.db"
    assert ask("backup", str(backup)).code == 0
    for file in (drill / "var").glob("publisher.db*"):
        file.unlink()
    restored = ask("restore", str(backup), "--without-journal", "--by", "night shift")
    assert restored.code == 0, restored.err


def test_a_user_restored_without_a_password_is_sent_to_a_new_link(ask, drill, tmp_path):
    """The backup may be of the time before the password was set, and enabling brings none back."""
    assert ask("user", "add", "zhang", "--role", "admin").code == 0
    lose_and_restore(ask, drill, tmp_path)
    enabled = ask("user", "enable", "zhang", "--by", "night shift")
    assert (enabled.code, "publisher user reset zhang" in enabled.out) == (0, True)


def test_a_lost_database_is_restored_by_the_owner_with_a_red_alert(
    ask, enrol, drill, tmp_path
):
    """A restored lost database has users, and the owner's action is marked with a red alert.

    Without a database nobody can sign in.
    """
    enrol("zhang", "admin")
    lose_and_restore(ask, drill, tmp_path)
    assert "break_glass" in [
        alert["code"] for alert in ask("alerts", "--json").json["alerts"]
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "add"),
        ("user", "list", "zhang"),
        ("user", "add", "zhang"),
        ("user", "disable", "zhang", "--role", "viewer"),
        ("user", "token", "zhang"),
        ("user", "add", "zhang", "--role", "chief"),
        ("user", "add", "zhang", "--role", "admin", "--scope", "stop"),
        ("user", "promote", "zhang"),
    ],
)
def test_wrong_usage_exits_2(ask, arguments):
    """A missing name, a role or scope where none belongs, and an unknown role are wrong usage."""
    assert ask(*arguments).code == 2


@pytest.mark.long
def test_a_second_administrator_confirms_by_command(ask, enrol, monkeypatch):
    """The first administrator requests without a link; the second confirms and gets the link.

    The second confirms a listed request. The user is notified.
    """
    monkeypatch.setattr(
        "publisher.cli.authentication.is_system_owner", lambda _workspace, _uid: False
    )
    for name in ("zhang", "zhou"):
        enrol(name, "admin", by=None if name == "zhang" else "zhang")
    waits = ask(
        "user", "add", "wang", "--role", "author", "--by", "zhang", lines=[PASSWORD]
    )
    assert (waits.code, LINK.findall(waits.out)) == (0, [])
    [row] = ask("user", "requests", "--json").json["requests"]
    assert (row["user"], row["kind"], row["roles"], row["by"]) == (
        "wang",
        "add",
        ["author"],
        "zhang",
    )
    confirm = ("user", "confirm", str(row["number"]))
    own = ask(*confirm, "--by", "zhang", lines=[PASSWORD])
    assert (own.code, "another administrator must confirm" in own.err) == (3, True)
    confirmed = ask(*confirm, "--by", "zhou", lines=[PASSWORD])
    assert confirmed.code == 0, confirmed.err
    assert (
        ask("user", "activate", lines=[*LINK.findall(confirmed.out), PASSWORD]).code
        == 0
    )
    assert "Nothing waits" in ask("user", "requests").out
    ask("user", "reset", "wang", "--by", "zhang", lines=[PASSWORD])
    [row] = ask("user", "requests", "--json").json["requests"]
    done = ask("user", "confirm", str(row["number"]), "--by", "zhou", lines=[PASSWORD])
    assert (
        ask("user", "activate", lines=[*LINK.findall(done.out), OTHER_PASSWORD]).code
        == 0
    )
    signed_in = ask("pause", "beijing-weibo", "--by", "wang", lines=[OTHER_PASSWORD])
    assert "zhang reset your password, and zhou confirmed it" in signed_in.err
    assert "sign_in_reset" in [
        alert["code"] for alert in ask("alerts", "--json").json["alerts"]
    ]


@pytest.mark.long
def test_who_confirms_the_first_trusted_role_gets_a_new_link(
    ask, enrol, issue_token, monkeypatch
):
    """After confirmation of the first trusted role the earlier password and token are void.

    Both people hear of it. A token never had more than the viewer.
    """
    monkeypatch.setattr(
        "publisher.cli.authentication.is_system_owner", lambda _workspace, _uid: False
    )
    enrol("zhang", "admin")
    enrol("zhou", "admin", by="zhang")
    enrol("wang", "viewer", by="zhang")
    token = issue_token("wang", "view")
    wider = ask(
        "user", "token", "wang", "--scope", "view", "--scope", "stop", lines=[PASSWORD]
    )
    assert (
        wider.code,
        "do not allow this, and so no token does: stop" in wider.err,
    ) == (
        3,
        True,
    ), wider.err
    waits = ask(
        "user", "change", "wang", "--role", "author", "--by", "zhang", lines=[PASSWORD]
    )
    assert (
        "is set up again with a new link" in waits.out,
        LINK.findall(waits.out),
    ) == (True, [])
    assert "is set up again with a new link" in ask("user", "requests").out
    [row] = ask("user", "requests", "--json").json["requests"]
    confirmed = ask(
        "user", "confirm", str(row["number"]), "--by", "zhou", lines=[PASSWORD]
    )
    assert (row["renews_sign_in"], "void" in confirmed.out) == (True, True), (
        confirmed.err
    )
    stop = ("pause", "beijing-weibo", "--by", "wang")
    assert [ask(*stop, token=token).code, ask(*stop, lines=[PASSWORD]).code] == [3, 3]
    assert (
        ask(
            "user", "activate", lines=[*LINK.findall(confirmed.out), OTHER_PASSWORD]
        ).code
        == 0
    )
    signed_in = ask(*stop, lines=[OTHER_PASSWORD])
    assert (
        signed_in.code,
        "zhang reset your password and second factor" in signed_in.err,
    ) == (
        0,
        True,
    )


def test_the_owner_confirms_in_an_emergency_with_a_red_alert(ask, enrol):
    """If the second administrator is gone, the workspace's owner confirms on the server."""
    enrol("zhang", "admin")
    enrol("zhou", "admin", by="zhang")
    grant = (
        "user",
        "change",
        "zhang",
        "--role",
        "admin",
        "--role",
        "operator",
        "--by",
        "zhang",
    )
    assert ask(*grant, lines=[PASSWORD]).code == 0
    [row] = ask("user", "requests", "--json").json["requests"]
    declined = ask(
        "user", "decline", str(row["number"]), "--by", "zhang", lines=[PASSWORD]
    )
    assert declined.code == 0, declined.err
    assert ask(*grant, lines=[PASSWORD]).code == 0
    [row] = ask("user", "requests", "--json").json["requests"]
    confirmed = ask("user", "confirm", str(row["number"]), "--by", "night shift")
    assert confirmed.code == 0, confirmed.err
    assert ask("user", "list", "--json").json["users"][0]["roles"] == [
        "admin",
        "operator",
    ]
    assert [alert["code"] for alert in ask("alerts", "--json").json["alerts"]] == [
        "break_glass"
    ]


def test_no_command_and_no_page_changes_a_user_past_the_second_administrator():
    """Both submit their changes; only a demo makes its people itself."""
    folder = Path(publisher.__file__).parent
    past = re.compile(r"users\.(add|change_grants|reset)\(")
    files = [
        file
        for part in ("cli", "web", "app", "engine")
        for file in (folder / part).rglob("*.py")
    ]
    assert [file.name for file in files if past.search(file.read_text("utf-8"))] == [
        "demo.py"
    ]
