"""Every problem with a file has a text, and its facts fill the placeholders."""

import re
import subprocess
import sys

import pytest

from publisher.domain.errors import InputError
from publisher.i18n import LANGUAGES, Messages
from publisher.schedule.load import parse_schedule
from tests.unit.config import test_settings
from tests.unit.schedule import test_parse_schedule
from tests.unit.schedule.contexts import CONTEXT, post
from tests.unit.tomlfile import test_read


def refused_texts() -> list[str]:
    (marks,) = test_read.test_a_syntax_error_explains_itself.pytestmark
    (more,) = (
        test_parse_schedule.test_f66_each_mistake_has_its_code_and_place.pytestmark
    )
    slips = [text for text, *_ in test_parse_schedule.SLIPS]
    shapes = [
        test_parse_schedule.FIVE,
        post() + post(),
        "[post]",
        "a = " + "[" * 99,
        "a = " + "1" * 999,
    ]
    return (
        [text for text, _ in marks.args[1]]
        + [post(**changes) for changes, _ in more.args[1]]
        + shapes
        + slips
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_problem_has_a_text(lang: str) -> None:
    """No problem of a schedule or settings is a bare code or has an unfilled placeholder."""
    messages = Messages(lang=lang)
    (cases,) = test_settings.test_each_mistake_has_its_code_and_place.pytestmark
    errors = [
        refusal(parse_schedule, text, file="s.toml", context=CONTEXT)
        for text in refused_texts()
    ]
    errors += [test_settings.refusal(text) for text, _ in cases.args[1]]
    for problem in (problem for error in errors for problem in error.problems):
        words = messages.format_problem(problem)
        assert messages.translate(problem.code, **problem.facts) != problem.code
        assert not re.search(r"\{(?!marker)\w+\}", words), words


def refusal(read, text, **rest) -> InputError:
    with pytest.raises(InputError) as caught:
        read(text, **rest)
    return caught.value


def test_reading_files_stays_light() -> None:
    """Importing the parser loads neither the database, nor the network, nor the holidays."""
    code = (
        "import sys, publisher.schedule.load, publisher.schedule.warnings, publisher.secrets; "
        "print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"sqlmodel", "sqlalchemy", "httpx", "holidays"} & set(loaded)
