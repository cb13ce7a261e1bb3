"""Secrets: changed while posts are sent, and searched for in every byte.

The search covers everything that publisher leaves behind or prints.
"""

import json
import re
import signal
import subprocess
import sys
from base64 import urlsafe_b64encode
from urllib.parse import quote

import pytest

from publisher.secrets import Vault
from tests.e2e.conftest import PLATFORMS
from tests.e2e.echo_proxy import leaks, proxy_to
from tests.wait import PATIENCE_SECONDS

POST = """
[[post]]
id = "{id}"
kind = "warning"
template = "warning"
author = "zhang"
level = "orange"
title = "警惕“退款客服”诈骗第{id}期"
at = "asap"
to = {to}
body = "接到**退款**电话，请先挂断。"
[post.data]
summary = "自称客服、要求转账的，是诈骗。退款原路退回，不用转账。"
"""
LOGINS = [
    (city, platform) for city in ("beijing", "shanghai") for platform in PLATFORMS
]
VAULT_KEY = urlsafe_b64encode(b"canary-of-the-vaults-own-key-32b").decode()
DATABASE = "canaryDatabase-7Qp!x9Lr"

CHANGER = """
import sys
from pathlib import Path
from publisher.secrets import Vault
vault, names = Vault(folder=Path(sys.argv[1]), environment={}), sys.argv[2:]
number = 0
while True:
    number += 1
    for name in names:
        now = vault.read(name)
        vault.write(name, {**now, "app_secret": f"{number:08}", "same": f"{number:08}"})
    vault.rotate()
    if number == 1:
        print(flush=True)
"""
READER = """
import sys
from pathlib import Path
from publisher.secrets import Vault
vault, name = Vault(folder=Path(sys.argv[1]), environment={}), sys.argv[2]
seen = set()
while len(seen) < int(sys.argv[3]):
    fields = vault.read(name)
    assert fields["app_secret"] == fields["same"], fields
    seen.add(fields["app_secret"])
"""


def schedule_of(*ids, to='["all"]'):
    return "".join(POST.format(id=each, to=to) for each in ids)


def move_to_vault(workspace, secrets, **environment):
    """Keep the accounts' secrets in the encrypted store instead of files."""
    file = workspace.folder / "publisher.toml"
    file.write_text(
        file.read_text("utf-8").replace('secrets_dir = "secrets"\n', ""), "utf-8"
    )
    for path in (workspace.folder / "secrets").iterdir():
        path.unlink()
    for name, fields in secrets.items():
        Vault(folder=workspace.folder / "var", environment=environment).write(
            name, fields
        )


def test_secrets_and_keys_are_changed_while_posts_are_sent(workspace, wait_until):
    """I19: under a stream of new values and new keys no post fails.

    Every read returns one whole value.
    """
    secrets = {
        file.name: json.loads(file.read_text())
        for file in (workspace.folder / "secrets").iterdir()
    }
    names = sorted(secrets)
    move_to_vault(workspace, secrets)
    file = workspace.folder / "publisher.toml"
    text = file.read_text("utf-8")
    for hasty, patient in {'"1.5s"': '"30s"', '"2s"': '"40s"', '"3s"': '"60s"'}.items():
        text = text.replace(
            hasty, patient
        )  # a call must not end for the machine being slow
    file.write_text(text, "utf-8")
    folder = workspace.folder / "var"
    changer = subprocess.Popen(
        [sys.executable, "-c", CHANGER, str(folder), *names], stdout=subprocess.PIPE
    )
    try:
        changer.stdout.readline()
        readers = [
            subprocess.Popen([sys.executable, "-c", READER, str(folder), name, "6"])
            for name in (names[0], names[-1])
        ]
        posts = [f"p{number}" for number in range(6)]
        workspace.write_schedule(
            schedule_of(*posts, to='["platform:weibo", "platform:wechat"]')
        )
        workspace.start()
        # the database is there, so that the rotation is recorded
        wait_until(lambda: len(workspace.states()) == 24)
        workspace.publisher("secret", "rotate")
        wait_until(lambda: list(workspace.states().values()) == ["published"] * 24)
        assert [reader.wait(PATIENCE_SECONDS) for reader in readers] == [0, 0]
        assert changer.poll() is None
    finally:
        changer.kill()
        changer.communicate()
    outcomes = set(re.findall(r'"outcome": ?"(\w+)"', workspace.log()))
    assert {
        "published",
        "submitted",
    } <= outcomes  # both platforms; a call that could not start is repeated ...
    # ... while a bad secret is refused or leaves a doubt
    assert outcomes <= {
        "published",
        "submitted",
        "not_sent",
    }
    assert "secret_unreadable" not in workspace.log()
    assert "vault_" not in workspace.log()
    workspace.publisher("secret", "rotate")
    assert workspace.publisher("secret", "list").split() == sorted(names)


def test_f98_the_secret_of_another_own_account_never_publishes_there(
    workspace, simulator, wait_until
):
    """F98: the secret of another own account never publishes there.

    It is put in place beside a running daemon. The next post waits, and goes out once the right
    secret is back.
    """
    folder = workspace.folder / "secrets"
    own, other = folder / "beijing-weibo", folder / "shanghai-weibo"
    right = own.read_text()
    workspace.write_schedule(schedule_of("first", to='["beijing-weibo"]'))
    workspace.start()
    wait_until(lambda: workspace.states() == {"first@beijing-weibo": "published"})
    own.write_text(other.read_text())
    workspace.write_schedule(schedule_of("first", "second", to='["beijing-weibo"]'))
    wait_until(
        lambda: (
            [pause["scope"] for pause in workspace.status()["paused"]]
            == ["account:beijing-weibo"]
        )
    )
    assert simulator.get("/_sim/posts?account=shanghai-weibo") == []
    own.write_text(right)
    workspace.publisher("resume", "beijing-weibo", "--by", "王")
    wait_until(lambda: workspace.states()["second@beijing-weibo"] == "published")
    assert len(simulator.get("/_sim/posts?account=beijing-weibo")) == 2
    assert simulator.get("/_sim/posts?account=shanghai-weibo") == []


def canaries(city, platform, mark="right"):
    """Return credentials with secret parts that are unmistakable in a search."""
    label = f"{mark}-{city}-{platform}"
    return {
        "weibo": {
            "app_key": f"10000000{len(city):02}",
            "app_secret": f"canaryAppSecret-{label}",
            "access_token": f"2.00canaryToken.{label}",
        },
        "wechat": {
            "app_id": f"{city}-{platform}",
            "app_secret": f"canaryWxSecret-{label}",
            "callback_token": f"canaryCb{mark}{city}"[:32],
            "encoding_aes_key": f"canaryAes{mark}{city}".ljust(43, "K"),
        },
        "tieba": {
            "BDUSS": f"canaryBduss~{label}~".ljust(192, "d"),
            "STOKEN": f"canaryStoken~{label}".ljust(64, "s"),
        },
    }[platform]


def hidden(secrets):
    return {
        f"{name}.{field}": value
        for name, fields in secrets.items()
        for field, value in fields.items()
        if field not in {"app_id", "app_key"}
    }


@pytest.fixture
def outputs(workspace, simulator, wait_until):
    """Yield the output of all commands, by command.

    The workspace's platforms are behind a proxy that may echo.
    """
    with proxy_to(simulator.client) as proxy:
        file = workspace.folder / "publisher.toml"
        file.write_text(
            file.read_text("utf-8").replace(
                simulator.url, f"http://127.0.0.1:{proxy.server_port}"
            ),
            "utf-8",
        )
        workspace.environment["PUBLISHER_VAULT_KEY"] = VAULT_KEY
        secrets = {
            f"{city}-{platform}": canaries(city, platform) for city, platform in LOGINS
        }
        for name, fields in secrets.items():
            platform = name.split("-")[1]
            simulator.post(
                "/_sim/accounts",
                {"platform": platform, "account": name, "secret": fields},
            )
        move_to_vault(workspace, secrets, PUBLISHER_VAULT_KEY=VAULT_KEY)
        yield Outputs(workspace, proxy, secrets, wait_until)


class Outputs:
    def __init__(self, workspace, proxy, secrets, wait_until):
        self.workspace, self.proxy, self.secrets, self.wait_until = (
            workspace,
            proxy,
            secrets,
            wait_until,
        )
        self.said = {}

    def run(self, *arguments, given=""):
        """Run a command with any exit code, and keep its output.

        Return its exit code and its output.
        """
        code, out, err = self.workspace.run(*arguments, given=given)
        self.said[f"{len(self.said)} {' '.join(arguments)}"] = (out + err).encode()
        return code, out

    def run_daemon(self, answers, post, until, **environment):
        """Run the daemon on one more post with the given answers.

        It runs until a condition holds or it ends.
        """
        self.proxy.answers = answers
        with (self.workspace.folder / "schedule.toml").open(
            "a", encoding="utf-8"
        ) as schedule:
            schedule.write(schedule_of(post))
        daemon = self.workspace.start(**environment)
        self.wait_until(lambda: daemon.poll() is not None or until())
        daemon.send_signal(signal.SIGTERM)
        self.proxy.answers = "forward"
        return daemon.wait(PATIENCE_SECONDS)

    def is_final(self, post):
        states = {
            row["state"]
            for row in self.workspace.status()["deliveries"]
            if row["post"] == post
        }
        return states and states <= {"published", "held", "failed"}

    def run_reports(self):
        """Run every command that reports something."""
        folder = self.workspace.folder
        self.run_explanations()
        for command in (
            ["status", "--json"],
            ["doctor", "--json"],
            ["accounts", "--json"],
            ["reach", "--json"],
            [
                "report",
                "--from",
                "2026-01-01",
                "--to",
                "2030-01-01",
                "--csv",
                str(folder / "report.csv"),
            ],
            ["audit", "verify"],
            ["audit", "export", str(folder / "audit.jsonl")],
            ["preview", "words", "--html", str(folder / "preview.html")],
            ["check", "--json"],
            ["secret", "list"],
            ["backup", str(folder / "backup")],
        ):
            self.run(*command)

    def run_explanations(self):
        """Run the commands that show the platforms' messages."""
        whys = [["why", f"words@{city}-{platform}"] for city, platform in LOGINS[:3]]
        for command in (
            ["status"],
            *whys,
            ["doctor"],
            ["accounts"],
            ["assist"],
            ["login", "beijing-weibo"],
        ):
            self.run(*command)

    def all_bytes(self):
        """Return every byte that publisher has written or printed, except its own settings."""
        files = [
            path
            for path in self.workspace.folder.rglob("*")
            if path.is_file() and path.name != "publisher.toml"
        ]
        assert {"publisher.db", "intents.jsonl", "vault.json", "audit-anchors.log"} <= {
            path.name for path in files
        }
        return {str(path): path.read_bytes() for path in files} | self.said


def test_i19_no_byte_of_a_secret_is_left_anywhere(outputs):
    """I19: no file, log or output has any byte of a secret.

    This holds for every echo or refusal of a platform, and every death of publisher.
    """
    workspace, wrong = outputs.workspace, {}
    (workspace.folder / "schedule.toml").write_text("")
    assert (
        outputs.run_daemon("forward", "first", lambda: outputs.is_final("first")) == 0
    )
    failpoints = {
        "killed": "http.after_body:kill@2",
        "raised": "http.after_body:raise@1,token.after_refresh:raise@1",
    }
    for post, points in failpoints.items():
        ended = outputs.run_daemon(
            "forward",
            post,
            lambda post=post: outputs.is_final(post),
            PUBLISHER_FAILPOINTS=points,
        )
        assert ended == (-signal.SIGKILL if post == "killed" else 0)
    for answers in ("page", "words", "nothing"):
        outputs.run_daemon(
            answers,
            answers,
            lambda answers=answers: outputs.proxy.answered.count(answers) >= 4,
        )
        outputs.proxy.answers = answers
        outputs.run("doctor")
        outputs.run("login", "beijing-weibo", given="code=0123456789abcdef\n")
        outputs.proxy.answers = "forward"
    assert "words" in outputs.run("status", "--json")[1]
    for city, platform in LOGINS:
        name = f"{city}-{platform}"
        wrong[name] = canaries(city, platform, "wrong")
        outputs.run("secret", "set", name, given=json.dumps(wrong[name]))
        outputs.run(
            "secret", "set", f"{name}-broken", given=json.dumps(wrong[name])[:-1]
        )
        outputs.run("resume", name, "--by", "王")
    outputs.run_daemon("forward", "refused", lambda: "wechat_40125" in workspace.log())
    outputs.run("secret", "rotate")
    outputs.run_reports()
    workspace.environment["PUBLISHER_LANG"] = "en"
    outputs.run_explanations()
    settings = workspace.folder / "publisher.toml"
    settings.write_text(
        settings.read_text("utf-8").replace("http://127.0.0.1", "https://127.0.0.1"),
        "utf-8",
    )
    outputs.run("doctor")
    outputs.run_daemon("forward", "untrusted", lambda: "tls_failed" in workspace.log())
    secrets = {
        **hidden(outputs.secrets),
        **{f"wrong {name}": value for name, value in hidden(wrong).items()},
    }
    secrets |= {f"token {token[:6]}": token for token in outputs.proxy.seen} | {
        "vault key": VAULT_KEY
    }
    assert len(outputs.proxy.seen) >= 2
    assert leaks(outputs.all_bytes(), secrets) == []


@pytest.mark.long
@pytest.mark.parametrize(
    "address",
    [
        "{}@127.0.0.1:1/db",
        "{}@127.0.0.1:port/db",
        pytest.param("{}@@127.0.0.1:1/db", marks=pytest.mark.smoke),
    ],
)
def test_i19_the_password_of_the_database_is_not_shown(outputs, address):
    """I19: outputs about an unreachable server or an unreadable address show no password."""
    (outputs.workspace.folder / "schedule.toml").write_text("")
    url = "postgresql://publisher:" + address.format(
        DATABASE if "@@" in address else quote(DATABASE, safe="")
    )
    url = url.replace("@@", "@rest-of-the-canary@")
    assert outputs.run("move-database", url, "--by", "li")[0] != 0
    settings = outputs.workspace.folder / "publisher.toml"
    settings.write_text(
        f"database = {json.dumps(url)}\n{settings.read_text('utf-8')}", "utf-8"
    )
    for command in (
        ["status"],
        ["doctor"],
        ["run", "--once"],
        ["check"],
        ["audit", "verify"],
        ["backup", "x"],
    ):
        assert outputs.run(*command)[0] != 0 or command == ["check"]
    assert (
        leaks(outputs.said, {"password": DATABASE, "rest": "rest-of-the-canary"}) == []
    )


@pytest.mark.parametrize(
    "spell",
    [str, quote, lambda value: value.encode().hex(), lambda value: f"x{value[:120]}"],
)
@pytest.mark.smoke
def test_the_search_finds_what_it_seeks(spell):
    """A secret in any form, or half of it, is found by the search."""
    secret = canaries("beijing", "tieba")["BDUSS"]
    assert leaks({"log": f"a {spell(secret)} b".encode()}, {"x": secret})
    assert leaks({"log": urlsafe_b64encode(f"abcd{secret}".encode())}, {"x": secret})
    assert not leaks(
        {"log": re.sub("canary", "c", spell(secret)).encode()},
        {"x": "another" + secret},
    )
