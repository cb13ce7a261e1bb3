"""The encrypted store: sealed secrets, bound to their name, opened only by the right key."""

import json
import os
import resource
import stat
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from publisher.secrets import KEY_NAME, KEY_VARIABLE, SecretError, Vault, read_secret

CANARY = "2.00canaryTOKEN"
FIELDS = {"app_key": "1", "access_token": CANARY}


def vault(folder, **environment):
    return Vault(folder=folder, environment=environment)


def test_a_stored_secret_is_read_back_and_not_there_in_clear(tmp_path):
    """I19: the file holds no byte of the value, and nobody else may read file or key."""
    vault(tmp_path).write("weibo-a", FIELDS)
    assert read_secret("weibo-a", vault=vault(tmp_path), environment={}) == FIELDS
    for file in tmp_path.iterdir():
        assert CANARY.encode() not in file.read_bytes()
    for name in ("vault.json", KEY_NAME):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_the_environment_and_files_come_before_the_store(tmp_path):
    """A secret in the environment takes precedence over the stored one of the same name."""
    vault(tmp_path).write("a", FIELDS)
    given = read_secret(
        "a", vault=vault(tmp_path), environment={"PUBLISHER_SECRET_A": '{"x": "1"}'}
    )
    assert given == {"x": "1"}


def test_a_secret_that_is_created_when_needed_is_created_once(tmp_path):
    """A second caller gets the first one's secret."""
    for value in ("first", "second"):
        vault(tmp_path).create_if_missing("a", {"x": value})
    assert vault(tmp_path).read("a") == {"x": "first"}


def test_rotation_keeps_every_secret_and_invalidates_the_old_key(tmp_path):
    """After a rotation all secrets open with the new key.

    A copy under the old key opens nothing.
    """
    vault(tmp_path).write("a", FIELDS)
    vault(tmp_path).write("b", {"x": "1"})
    old_key = (tmp_path / KEY_NAME).read_text()
    assert vault(tmp_path).rotate() == 2
    assert vault(tmp_path).read("a") == FIELDS
    with pytest.raises(SecretError) as caught:
        vault(tmp_path, **{KEY_VARIABLE: old_key}).read("a")
    assert caught.value.code == "vault_locked"
    assert CANARY not in str(caught.value)


def test_a_kill_in_the_middle_of_a_rotation_leaves_all_readable(tmp_path):
    """While both keys are in the file, secrets sealed with either are opened."""
    vault(tmp_path).write("a", FIELDS)
    key = tmp_path / KEY_NAME
    key.write_text(Fernet.generate_key().decode() + "\n" + key.read_text())
    assert vault(tmp_path).read("a") == FIELDS


def test_an_operators_key_is_used_and_never_written(tmp_path):
    """With a key from the environment no key file is made; a new line before it rotates."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    vault(tmp_path, **{KEY_VARIABLE: old}).write("a", FIELDS)
    assert not (tmp_path / KEY_NAME).exists()
    vault(tmp_path, **{KEY_VARIABLE: f"{new}\n{old}"}).rotate()
    assert vault(tmp_path, **{KEY_VARIABLE: new}).read("a") == FIELDS


def test_a_secret_moved_to_another_name_is_refused(tmp_path):
    """With write access to the file nobody can make one account use another's login."""
    vault(tmp_path).write("a", FIELDS)
    vault(tmp_path).write("b", {"x": "1"})
    sealed = json.loads((tmp_path / "vault.json").read_text())
    (tmp_path / "vault.json").write_text(
        json.dumps({"a": sealed["b"], "b": sealed["a"]})
    )
    with pytest.raises(SecretError) as caught:
        vault(tmp_path).read("a")
    assert caught.value.code == "vault_damaged"


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "\x00", '{"a": "é"}'])
def test_a_damaged_store_is_refused_and_left_alone(tmp_path, content):
    """A file that is no store is named, and neither read nor overwritten."""
    vault(tmp_path).write("a", FIELDS)
    (tmp_path / "vault.json").write_text(content)
    for act in (
        lambda: vault(tmp_path).read("a"),
        lambda: vault(tmp_path).write("b", FIELDS),
    ):
        with pytest.raises(SecretError) as caught:
            act()
        assert caught.value.code == "vault_damaged"
    assert (tmp_path / "vault.json").read_text() == content


def test_a_damaged_entry_costs_no_other_secret(tmp_path):
    """An entry with characters that no encryption writes is refused by name.

    The other entries are read.
    """
    store = vault(tmp_path)
    store.write("a", FIELDS)
    store.write("b", FIELDS)
    sealed = json.loads(store.file.read_text())
    store.file.write_text(json.dumps({**sealed, "a": f"é{sealed['a'][:-8]}"}))
    with pytest.raises(SecretError) as caught:
        store.read("a")
    assert (caught.value.code, caught.value.name, store.read("b")) == (
        "vault_locked",
        "a",
        FIELDS,
    )


@pytest.mark.parametrize("damage", ["é{}", "\ufeff{}", "\udcff{}", "short"])
def test_a_malformed_key_is_named_and_used_for_nothing(tmp_path, damage):
    """A malformed key is named and not used.

    It has foreign characters, bytes that are no text, or the wrong length.
    """
    store = vault(
        tmp_path, **{KEY_VARIABLE: damage.format(Fernet.generate_key().decode())}
    )
    for act in (lambda: store.write("a", FIELDS), store.rotate):
        with pytest.raises(SecretError) as caught:
            act()
        assert (caught.value.code, caught.value.places) == (
            "vault_key_bad",
            (KEY_VARIABLE,),
        )


@pytest.mark.parametrize("has_read", [False, True])
def test_a_store_that_cannot_be_opened_for_a_moment_is_read_the_next_time(
    tmp_path, has_read
):
    """A lack of open files is reported and not cached.

    The store is read as before once a file can be opened again.
    """
    store = vault(tmp_path)
    store.write("a", FIELDS)
    if has_read:
        store.read("a")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(SecretError) as caught:
            store.read("a")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.code == "vault_unreadable"
    assert store.read("a") == FIELDS


def test_without_its_key_a_store_is_not_overwritten(tmp_path):
    """A lost key is named; no new one is made while something is sealed with the old one."""
    vault(tmp_path).write("a", FIELDS)
    (tmp_path / KEY_NAME).unlink()
    for act in (
        lambda: vault(tmp_path).read("a"),
        lambda: vault(tmp_path).write("b", FIELDS),
    ):
        with pytest.raises(SecretError) as caught:
            act()
        assert caught.value.code == "vault_key_missing"
    assert not (tmp_path / KEY_NAME).exists()


def test_a_removed_secret_is_gone(tmp_path):
    """Removing returns whether there was one."""
    vault(tmp_path).write("a", FIELDS)
    assert [vault(tmp_path).remove("a") for _ in range(2)] == [True, False]
    assert vault(tmp_path).list_names() == []


def test_an_older_copy_of_a_secret_is_refused_after_a_rotation(tmp_path):
    """Write access to the file brings back no value from before the last rotation."""
    vault(tmp_path).write("a", {"x": "withdrawn"})
    old = json.loads((tmp_path / "vault.json").read_text())
    vault(tmp_path).write("a", FIELDS)
    vault(tmp_path).rotate()
    (tmp_path / "vault.json").write_text(json.dumps(old))
    with pytest.raises(SecretError) as caught:
        vault(tmp_path).read("a")
    assert caught.value.code == "vault_locked"


def test_files_left_by_a_kill_expose_nothing(tmp_path):
    """I19: a half-written file of another mode is not written into; store and key stay private."""
    for name in (".vault.json.new", f".{KEY_NAME}.new"):
        (tmp_path / name).touch(0o644)
    vault(tmp_path).write("a", FIELDS)
    vault(tmp_path).rotate()
    assert {
        stat.S_IMODE((tmp_path / name).stat().st_mode)
        for name in ("vault.json", KEY_NAME)
    } == {0o600}
    assert not list(tmp_path.glob("*.new"))


def test_a_reader_between_the_two_files_of_a_rotation_begins_again(
    tmp_path, monkeypatch
):
    """A reader between the two files of a rotation still gets the value.

    The store is read, then everything is sealed again, then the key is read.
    """
    vault(tmp_path).write("a", FIELDS)
    reads, rotations = (
        Vault._keys,
        iter([vault(tmp_path).rotate]),
    )  # the instant in between

    def keys_after_a_rotation(self, **options):
        next(rotations, lambda: None)()
        return reads(self, **options)

    monkeypatch.setattr(Vault, "_keys", keys_after_a_rotation)
    assert vault(tmp_path).read("a") == FIELDS


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path):
    """Values of one length that follow each other at once are distinguished.

    No reader keeps an older one.
    """
    seen = []
    for number in range(200):
        vault(tmp_path).write("a", {"x": f"{number:03}"})
        seen.append(vault(tmp_path).read("a")["x"])
    assert seen == [f"{number:03}" for number in range(200)]


WRITER = """
import sys
from pathlib import Path
from publisher.secrets import Vault
vault = Vault(folder=Path(sys.argv[1]), environment={})
for number in range(25):
    vault.write(f"{sys.argv[2]}-{number}", {"x": sys.argv[2]})
    if number % 5 == 0:
        vault.rotate()
"""


def test_three_processes_write_and_rotate_at_once_and_nothing_is_lost(tmp_path):
    """Changes of the store exclude each other.

    All secrets of all writers are there, under one key.
    """
    commands = [[sys.executable, "-c", WRITER, str(tmp_path), name] for name in "abc"]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    store = vault(tmp_path)
    assert {name: store.read(name)["x"] for name in store.list_names()} == {
        f"{name}-{number}": name for name in "abc" for number in range(25)
    }
    assert len((tmp_path / KEY_NAME).read_text().split()) == 1


DOOMED = """
import os, signal, sys
from pathlib import Path
import publisher.secrets as store
replaced = Path.replace
left = int(sys.argv[2])
def replace(self, target):
    global left
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return replaced(self, target)
Path.replace = replace
store.Vault(folder=Path(sys.argv[1]), environment={}).rotate()
"""


@pytest.mark.parametrize("files", [0, 1, 2])
def test_a_kill_before_any_file_of_a_rotation_leaves_all_readable(tmp_path, files):
    """A kill before any file of a rotation costs nothing; the next rotation cleans up.

    The files are the keys, the store and the last key.
    """
    vault(tmp_path).write("a", FIELDS)
    died = subprocess.run(
        [sys.executable, "-c", DOOMED, str(tmp_path), str(files)],
        check=False,
        timeout=60,
    )
    assert died.returncode == -9
    assert vault(tmp_path).read("a") == FIELDS
    vault(tmp_path).rotate()
    assert vault(tmp_path).read("a") == FIELDS
    assert len((tmp_path / KEY_NAME).read_text().split()) == 1
