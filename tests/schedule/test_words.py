"""Every problem with a file has words, and its facts fill their blanks."""

import re
import subprocess
import sys

import pytest

from publisher.domain.errors import InputError
from publisher.messages import LANGS, Messages
from publisher.schedule import parse_schedule
from publisher.settings import parse_settings
from tests.schedule import test_parse_schedule, test_reading, test_settings
from tests.schedule.desks import DESK, post


def refused_texts() -> list[str]:
    (marks,) = test_reading.test_a_syntax_error_explains_itself.pytestmark
    (more,) = test_parse_schedule.test_f66_each_mistake_has_its_code_and_place.pytestmark
    shapes = [test_parse_schedule.FIVE, post() + post(), "[post]", "a = " + "[" * 99, "a = " + "1" * 999]
    return [text for text, _ in marks.args[1]] + [post(**changes) for changes, _ in more.args[1]] + shapes


@pytest.mark.parametrize("lang", LANGS)
def test_every_problem_is_put_into_words(lang: str) -> None:
    """No problem of a schedule or of settings is shown as a bare code or with an unfilled blank."""
    messages = Messages(lang=lang)
    (cases,) = test_settings.test_each_mistake_has_its_code_and_place.pytestmark
    errors = [refusal(parse_schedule, text, file="s.toml", desk=DESK) for text in refused_texts()]
    errors += [refusal(parse_settings, text, workspace=test_settings.WORKSPACE) for text, _ in cases.args[1]]
    for problem in (problem for error in errors for problem in error.problems):
        words = messages.tell(problem)
        assert messages.say(problem.code, **problem.facts) != problem.code
        assert not re.search(r"\{(?!marker)\w+\}", words), words


def refusal(read, text, **rest) -> InputError:
    with pytest.raises(InputError) as caught:
        read(text, **rest)
    return caught.value


def test_reading_files_stays_light() -> None:
    """Importing the reading floor brings neither the database, nor the network, nor the holidays."""
    code = "import sys, publisher.schedule, publisher.vault; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlmodel", "sqlalchemy", "httpx", "holidays", "tree_sitter"} & set(loaded)
