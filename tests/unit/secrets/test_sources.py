"""Where secrets are looked for, and that their content is never shown."""

import asyncio
import contextvars
import json
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from structlog.testing import capture_logs

from publisher.secrets import (
    KEY_VARIABLE,
    USER_KEY_NAME,
    LoginSecret,
    SecretError,
    Vault,
    make_dashboard_environment,
    read_secret,
    secret_variable_name,
)

VALUE = '{"app_id": "wx1", "app_secret": "hunter2"}'


def test_the_variable_is_named_after_the_secret() -> None:
    """Upper case, with underscores for hyphens."""
    assert secret_variable_name("weibo-beijing") == "PUBLISHER_SECRET_WEIBO_BEIJING"


def test_the_first_place_that_has_it_wins(tmp_path: Path) -> None:
    """The environment comes before systemd's credentials, then the folder of secrets."""
    folder, credentials = tmp_path / "secrets", tmp_path / "credentials"
    for place in (folder, credentials):
        place.mkdir()
        (place / "w").write_text(f'{{"from": "{place.name}"}}\n')
    environment = {"CREDENTIALS_DIRECTORY": str(credentials)}
    variable = {"PUBLISHER_SECRET_W": '{"from": "environment"}'}
    assert read_secret("w", secrets_dir=folder, environment=environment | variable) == {
        "from": "environment"
    }
    assert read_secret("w", secrets_dir=folder, environment=environment) == {
        "from": "credentials"
    }
    assert read_secret("w", secrets_dir=folder, environment={}) == {"from": "secrets"}


def test_a_missing_secret_names_the_places(tmp_path: Path) -> None:
    """The error names every place that was searched."""
    with pytest.raises(SecretError) as caught:
        read_secret(
            "w",
            secrets_dir=tmp_path,
            environment={"CREDENTIALS_DIRECTORY": "/run/credentials"},
        )
    assert caught.value.code == "secret_missing"
    assert caught.value.places == (
        "PUBLISHER_SECRET_W",
        "/run/credentials/w",
        str(tmp_path / "w"),
    )


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        '"hunter2"',
        '["hunter2"]',
        '{"a": "hunter2", "b": ""}',
        '{"a": {"hunter2": 1}}',
        "{}",
        "",
        VALUE[:-1],
    ],
)
def test_i19_the_content_never_shows(value: str) -> None:
    """A secret of the wrong format is refused without a trace of it in the error or its causes."""
    with pytest.raises(SecretError) as caught:
        read_secret("w", environment={"PUBLISHER_SECRET_W": value})
    assert caught.value.code == "secret_not_json"
    assert caught.value.__context__ is None
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + str(
        caught.value.facts
    )


def test_numbers_are_taken_as_texts() -> None:
    """An app key typed as a number is the same key."""
    assert read_secret("w", environment={"PUBLISHER_SECRET_W": '{"app_key": 123}'}) == {
        "app_key": "123"
    }


def test_a_secret_that_stays_missing_is_logged_once(tmp_path: Path) -> None:
    """One line when it begins to fail, and one when it fails again after it was there."""
    secret = LoginSecret(
        name="w",
        account="a",
        secrets_dir=tmp_path,
        vault=Vault(folder=tmp_path / "var"),
    )
    logged = []
    for content in (None, None, VALUE, None, None):
        (tmp_path / "w").unlink(missing_ok=True)
        if content:
            (tmp_path / "w").write_text(content)
        with capture_logs() as entries:
            assert bool(secret.read()) is (content is not None)
        logged.append([entry["code"] for entry in entries])
    assert logged == [["secret_missing"], [], [], ["secret_missing"], []]


async def test_f98_a_task_that_holds_a_secret_reads_no_other(tmp_path: Path) -> None:
    """F98: a task that holds a secret keeps it; a new value is for other tasks and later.

    Other secrets are not concerned.
    """
    first, second = (
        LoginSecret(
            name=name,
            account="a",
            secrets_dir=tmp_path,
            vault=Vault(folder=tmp_path / "var"),
        )
        for name in ("first", "second")
    )
    for name in ("first", "second"):
        (tmp_path / name).write_text('{"token": "old"}')

    async def read() -> Mapping[str, str]:
        return first.read()

    outside = contextvars.copy_context()
    with first.held() as fields:
        for name in ("first", "second"):
            (tmp_path / name).write_text('{"token": "new"}')
        assert first.read() == fields == {"token": "old"}
        assert await asyncio.create_task(read()) == {
            "token": "old"
        }  # a part of the same work
        assert await asyncio.create_task(read(), context=outside) == {"token": "new"}
        assert second.read() == {"token": "new"}
    assert first.read() == {"token": "new"}


def test_f98_a_secret_is_let_go_where_its_task_was_dropped(tmp_path: Path) -> None:
    """F98: the garbage collector may end a hold in another context without an error.

    No other secret is let go.
    """
    secret = LoginSecret(
        name="first",
        account="a",
        secrets_dir=tmp_path,
        vault=Vault(folder=tmp_path / "var"),
    )
    (tmp_path / "first").write_text('{"token": "old"}')
    dropped = secret.held()
    contextvars.copy_context().run(dropped.__enter__)
    (tmp_path / "first").write_text('{"token": "new"}')
    with secret.held() as fields:
        (tmp_path / "first").write_text('{"token": "newest"}')
        dropped.__exit__(None, None, None)
        assert secret.read() == fields == {"token": "new"}
    assert secret.read() == {"token": "newest"}


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """A file that cannot be a secret is refused."""
    (tmp_path / "w").write_text(" " * 100_000)
    with pytest.raises(SecretError) as caught:
        read_secret("w", secrets_dir=tmp_path, environment={})
    assert caught.value.code == "secret_unreadable"


@pytest.mark.parametrize("name", ["", "../w", "a/b", "密钥", "a b"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    """A name that could be a path is refused before anything is opened."""
    with pytest.raises(SecretError) as caught:
        read_secret(name, secrets_dir=tmp_path, environment={})
    assert caught.value.code == "bad_secret_name"


def test_the_dashboards_environment_leads_to_no_secret(tmp_path: Path) -> None:
    """The dashboard's environment has the key of second factors alone.

    This holds also where the operator keeps the store's key elsewhere.
    """
    environment = {
        KEY_VARIABLE: Fernet.generate_key().decode(),
        "PUBLISHER_SECRET_WEIBO": '{"app_secret": "of-a-platform"}',
        "CREDENTIALS_DIRECTORY": str(tmp_path),
        "PGPASSWORD": "of-the-database",
    }
    vault = Vault(folder=tmp_path / "var", environment=environment)
    given = make_dashboard_environment(environment, secrets_dir=None, vault=vault)
    assert given.keys() == {"PGPASSWORD", "PUBLISHER_SECRET_USER_KEY"}
    assert json.loads(given["PUBLISHER_SECRET_USER_KEY"]) == vault.read(USER_KEY_NAME)
    assert not (tmp_path / "var" / "vault-key").exists()


def test_a_store_that_cannot_be_read_does_not_stop_the_dashboard(
    tmp_path: Path,
) -> None:
    """It starts without the key, and says itself that nobody can give a code."""
    (tmp_path / "vault.json").write_text("damaged", "ascii")
    assert make_dashboard_environment(
        {"LANG": "C"}, secrets_dir=None, vault=Vault(folder=tmp_path)
    ) == {"LANG": "C"}
