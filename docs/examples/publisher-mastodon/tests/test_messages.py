"""Staff read words, not codes: each code of the adapter has its words in both languages."""

import re
from importlib.resources import files

import publisher_mastodon
from publisher_mastodon import MASTODON


def test_each_code_has_its_words():
    """No code in the source is without words, and no words are without a code."""
    folder = files(publisher_mastodon)
    source = "".join(
        file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".py")
    )
    codes = set(re.findall(r'"(mastodon_\w+)"', source))
    named = {code for code in MASTODON.messages if code.startswith("mastodon_")}
    made_of_statuses = {f"mastodon_{status}" for status in (403, 404, 422)}
    assert codes | made_of_statuses == named


def test_both_languages_have_the_same_facts():
    """A text of one language that names a fact has it in the other as well."""
    for code, texts in MASTODON.messages.items():
        facts = [
            set(re.findall(r"{(\w+)}", texts[language])) for language in ("zh_CN", "en")
        ]
        assert facts[0] == facts[1], code
