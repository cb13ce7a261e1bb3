"""The form of a post says what is wrong by the labels of its fields, never by keys of the file."""

import html
import re

import pytest

from publisher.i18n import LANGUAGES, Messages, load_catalogue
from publisher.schedule.model import PostEntry
from tests.cli.posts import warning
from tests.web.posts import POST, SOON, plan
from tests.web.test_plain_words import TAG, visible
from tests.web.test_write import NEW, fields_of, file  # noqa: F401 # a fixture

KEYS = {*PostEntry.model_fields, "expires_at", "level_basis"} | {"asap"}
WORDS = {
    "zh_CN": KEYS,
    # as words of English sentences these are none
    "en": {key for key in KEYS if "_" in key} | {"follows =", "at =", "cron", "asap"},
}
WRONG = {
    "no original": {"kind": "update", "template": "update"},
    "late": {"max_delay": "bald"},
    "past": {"at_date": "2026-11-01"},
    "over": {"expires_date": "2026-12-01", "expires_time": "09:00"},
    "three fields": {"when": "repeat", "repeat": "cron", "cron": "0 9 *"},
    "no weekday": {"when": "repeat", "repeat": "cron", "cron": "0 9 * * x"},
    "no day": {"when": "repeat", "repeat": "cron", "cron": "0 9 30 2 *"},
    "often": {"when": "repeat", "repeat": "cron", "cron": "* * * * *"},
    "bounds": {
        "when": "repeat",
        "repeat": "cron",
        "cron": "0 9 * * *",
        "from_date": "2027-01-02",
        "until_date": "2027-01-01",
    },
    "no time": {"at_date": "", "at_time": ""},
    "nobody": {"to": []},
    "no title": {"title": ""},
    "long title": {"title": "警惕" * 200},
    "no summary": {"data.summary": ""},
    "kind": {"template": "bulletin"},
    "id": {"id": "不行"},
}


def find_keys(text, lang):
    """Return the keys of the file that a text names."""
    text = re.sub(r"\{\w+\}", "", text)
    brackets = re.findall(r"\[\[?post[.\w]*", text)
    found = re.findall(r"(?<![\w@./:#-])[a-z_]+(?: =)?(?![\w@./:#-])", text)
    named = {word for word in found if word.removesuffix(" =") in WORDS[lang]}
    return sorted({*brackets, *named})


@pytest.mark.parametrize("lang", LANGUAGES)
async def test_a_problem_names_the_label_of_its_field(site, file, lang):  # noqa: F811
    """Whatever is wrong in a form, the page says it in words: on a check and on a save."""
    author = await site.signed_in("author", name="王")
    query, named, labels = {"lang": lang.partition("_")[0]}, {}, {}
    form = await author.get("/write", params=query)
    for name, fields in WRONG.items():
        page = await author.post("/write/check", data={**NEW, **fields, "tried": "1"})
        problems = re.findall(
            r'<(?:p|li|div)[^>]*class="[^"]*(?:problem|note|says|hint)[^"]*".*?</(?:p|li|div)>',
            page.text,
            re.DOTALL,
        )
        text = html.unescape(TAG.sub(" | ", " ".join(problems)))
        labels[name] = text
        if keys := find_keys(text, lang):
            named[name] = keys, text
    assert find_keys(visible(form.text), lang) == []
    assert named == {}
    for name, key in {"no title": "title", "late": "max_delay", "id": "id"}.items():
        assert Messages(lang).name_field(key) in labels[name]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_page_has_its_own_words_where_the_file_has_keys(lang):
    """The texts for pages name no key, and the command line keeps the keys of the file."""
    page, command = Messages(lang, names_buttons=True), Messages(lang)
    texts = {
        code: [page.translate(code), page.hint(code)]
        for code, entry in load_catalogue().items()
        if {"page", "page_hint"} & entry.keys()
    }
    assert {
        code: keys
        for code, found in texts.items()
        if (keys := find_keys(" ".join(found), lang))
    } == {}
    assert "follows" in command.translate("follows_missing", kind="update")
    assert page.name_field("expires") == page.translate("web_write_expires")
    assert page.name_field("data.summary") == page.translate("web_write_data_summary")
    assert page.name_field("images[0].alt") == page.translate("web_write_images")


async def test_the_form_says_which_fields_may_stay_empty(site, file):  # noqa: F811
    """A field that only another kind needs is marked for every kind that saves without it."""
    author = await site.signed_in("author")
    labels = {}
    for kind in ("warning", "notice"):
        page = (await author.get(f"/write?kind={kind}")).text
        [labels[kind]] = re.findall(
            r'<label for="f-data.source">(.*?)</label>', page, re.DOTALL
        )
    saved = await author.post("/write", data={**NEW, "tried": "1"})
    assert saved.status_code == 303
    assert "可以不填" in labels["warning"]
    assert "可以不填" not in labels["notice"]


async def test_the_original_is_chosen_by_its_title(site, file):  # noqa: F811
    """The list has titles with their times, also for a post that the address names."""
    await plan(site, POST)
    author = await site.signed_in("author")
    page = (await author.get("/write?kind=correction&follows=refund")).text
    choice = r'<option value="refund" selected>([^<]*)</option>'
    [name] = re.findall(choice, re.sub(r"\s+", " ", page))
    assert name.strip().startswith("警惕“退款客服”诈骗 ")


async def test_a_follow_up_is_for_the_accounts_of_its_original(site, file):  # noqa: F811
    """Elsewhere it would do nothing, and its approver would read a wrong number of accounts."""
    await plan(site, warning("refund", SOON, '["beijing-weibo", "beijing-tieba"]'))
    author = await site.signed_in("author")
    form = fields_of((await author.get("/write?kind=correction&follows=refund")).text)
    assert sorted(form["to"]) == ["beijing-tieba", "beijing-weibo"]
