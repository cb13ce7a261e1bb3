"""The figures of `structure.py` do not get worse."""

import ast

import pytest

from tests.repo.structure import count_statements, files_of_one_delivery, measure

MAX_FILES_OF_ONE_DELIVERY = 32
MAX_SHARE_CALLED_ONCE = 0.40
MAX_GLOSSARY_ROWS = 20
MAX_WORDS_NOT_FOUND = 0
MAX_FUNCTION_STATEMENTS = 30
MAX_FILE_STATEMENTS = 300
MAX_NINTH_DECILE_STATEMENTS = 18
MAX_TOKENS_PER_LINE = 7.5
MAX_HTML_LINE_LENGTH = 120
MAX_NOUNLESS_CLAUSES = 8
"""In 1,000 words of docstrings."""


@pytest.fixture(scope="module")
def structure():
    """Return the present figures of the repository."""
    return measure()


def test_names_are_unique_and_nouns(structure):
    """No class name stands for two classes, in tests too, and no module is named in -ing."""
    assert structure.classes_defined_twice == {}
    assert structure.gerund_modules == []


def test_every_command_has_a_file_of_its_name(structure):
    """The module of `publisher NAME` is commands/NAME.py."""
    assert structure.commands_without_file == []


def test_the_words_of_the_field_are_found(structure):
    """Each search word of an engineer is in the name of a module, class or function."""
    assert len(structure.words_not_found) <= MAX_WORDS_NOT_FOUND, (
        structure.words_not_found
    )


def test_the_glossary_stays_short(structure):
    """Words of our own are few."""
    assert structure.glossary_rows <= MAX_GLOSSARY_ROWS


def test_no_banned_word_is_written(structure):
    """Product, docs, scripts and tests use plain technical English."""
    found = structure.banned_words
    assert not found, f"of BANNED_WORDS in tests/repo/structure.py: {found}"


def test_tests_use_the_products_words(structure):
    """No name given in tests has a word with another word for it in the product."""
    assert structure.banned_test_names == []


def test_sizes_do_not_grow(structure):
    """Files and functions stay small enough for a reader to follow."""
    assert structure.private_called_once <= MAX_SHARE_CALLED_ONCE
    assert max(structure.largest_functions.values()) <= MAX_FUNCTION_STATEMENTS, (
        structure.largest_functions
    )
    assert max(structure.largest_files.values()) <= MAX_FILE_STATEMENTS, (
        structure.largest_files
    )


def test_a_line_has_one_thought(structure):
    """Nine functions in ten are short, lines of code are not filled, and docstrings name a noun."""
    assert structure.ninth_decile_function <= MAX_NINTH_DECILE_STATEMENTS
    assert structure.tokens_per_line <= MAX_TOKENS_PER_LINE
    assert structure.nounless_clauses <= MAX_NOUNLESS_CLAUSES


def test_lines_of_html_fit_a_window(structure):
    """A template has one element a line."""
    assert structure.longest_html_line <= MAX_HTML_LINE_LENGTH


def test_one_delivery_runs_through_few_files():
    """From claim to receipt a delivery executes code of a bounded number of files."""
    files = files_of_one_delivery()
    assert "publisher/engine/sender.py" in files
    assert len(files) <= MAX_FILES_OF_ONE_DELIVERY, files


def test_statements_are_counted_without_docstrings_and_imports():
    """A size is the number of statements, nested ones too; docstrings and imports do not count."""
    source = '''
"""A module."""
import os

def shown(value):
    """Return it."""
    from sys import path
    if value:
        return path
    return os
'''
    tree = ast.parse(source)
    assert count_statements(tree.body) == 4
    assert count_statements(tree.body[-1].body) == 3
