"""The easily guessed passwords."""

import pytest

from publisher.domain import password as domain_password
from publisher.domain.password import (
    MAX_PASSWORD_CHARACTERS,
    MIN_GUESSES,
    count_guesses,
    is_guessable,
)

AGENCY = (
    "李海",
    "Li Hai",
    "平安北京",
    "beijing-weibo",
    "posts.example.gov.cn",
    "weibo",
)


@pytest.mark.parametrize(
    "password",
    [
        "123456789012", "112233445566", "147258369147", "qwertyuiop12", "1qaz2wsx3edc",
        "zaq12wsxcde3", "qweasdzxc123", "aaaaaaaaaaaa", "abcabcabcabc", "111111222222",
        "13800138000a", "woaini1314520", "gonganju20261", "Password2026!", "P@ssw0rd2026",
        "publisher2026", "administrator1", "ｐａｓｓｗｏｒｄ１２３４", "一二三四五六七八九十一二",
        "LiHai20260101", "Li.Hai-Li.Hai", "李海李海李海李海李海李海", "平安北京20260101",
        "Beijing-Weibo-1", "example.gov.cn",
    ],
)  # fmt: skip
def test_what_a_guesser_tries_first_is_refused(password):
    """A password of easily guessed parts is refused.

    Such parts are rows of keys, repetitions, dates, common words, the user's name and the agency's
    name.
    """
    assert is_guessable(password, AGENCY)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery", "马路边上有一棵很老的槐树", "eleven-officers-read-it-twice",
        "kV9#xq2LmZ7p", "9f3a7c1e5b2d", "483920175664", "hello banana office tree",
    ],
)  # fmt: skip
def test_what_must_be_guessed_part_by_part_is_accepted(password):
    """Unrelated words and random characters are accepted as a password.

    Some of their letters may be neighbours or doubled.
    """
    assert not is_guessable(password, AGENCY)


def test_a_known_part_counts_once():
    """However often a word is repeated between others, and however long it is."""
    assert count_guesses("password1234password4321password") <= 4
    assert count_guesses("李海-x-李海-y", ["李海"]) == 3


def test_the_longest_password_is_judged_within_a_moment(monkeypatch):
    """Only a few places of the longest password are compared with an agency's names.

    A comparison of all places took a second, and others waited.
    """
    worst, places = (
        "".join(chr(0x4E00 + place) for place in range(MAX_PASSWORD_CHARACTERS)),
        [],
    )
    find_run = domain_password._run_length
    monkeypatch.setattr(
        domain_password,
        "_run_length",
        lambda *where: places.append(where) or find_run(*where),
    )
    assert not is_guessable(worst, AGENCY)
    assert len(places) <= 3 * MIN_GUESSES
    assert count_guesses(worst) == MAX_PASSWORD_CHARACTERS
