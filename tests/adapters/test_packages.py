"""Packages that bring an adapter: the parts they may bring.

Packages that do not keep the contract are reported.
"""

import asyncio
import re
import sys
from dataclasses import replace
from importlib.resources import files
from itertools import count

import pytest

from publisher.app.adapters import (
    build_policies,
    find_adapter_problems,
    find_api_blocker,
    load_factory,
)
from publisher.app.offline import build_offline_app
from publisher.cli import run_command
from publisher.config import load_settings
from publisher.domain.account import AccountId
from publisher.domain.errors import Problem, SettingsError
from publisher.i18n import Messages
from publisher.runtime.redaction import redact_text
from publisher.testing.builders import make_post, make_rendered_delivery
from publisher.testing.fakes import START_TIME, TEST_CAPABILITIES

FACTORY = """
from pathlib import Path
from publisher.contract import PlatformDefaults
from publisher.domain.account import Mode
from publisher.domain.errors import Problem, Severity
from publisher.testing.builders import TEST_RATE_LIMIT, TEST_TIMING
from publisher.testing.fakes import TEST_CAPABILITIES, FakeAdapter


class Factory:
    contract = 1
    defaults = PlatformDefaults(rate_limit=TEST_RATE_LIMIT, timing=TEST_TIMING)
    display_name = {"zh_CN": "市民网", "en": "City site"}
    messages = {
        "city_too_loud": {"zh_CN": "{word} 太响", "en": "{word} is too loud", \
"hint": {"zh_CN": "轻点", "en": "hush"}},
        "city_no_quarter": {"zh_CN": "{account} 没有分区", "en": "{account} has no quarter"},
        "place_city": {"zh_CN": "市民网后台", "en": "the city's console"},
    }

    def capabilities(self, account):
        return TEST_CAPABILITIES

    def validate(self, account, rendered):
        return ()

    def create(self, account, context):
        return FakeAdapter(now=context.now)

    def check_account(self, account):
        if "quarter" not in account.options:
            yield Problem(code="city_no_quarter", facts={"key": "options.quarter"})

    def hosts(self, account):
        return ("city.example",)


CITY = Factory()
"""
ACCOUNTS = """
[region.1]
name = "北京"
police = "北京市公安局"
hotline = "110"
tip_line = "12377"
[[account]]
id = "w"
platform = "wechat"
identity = "wx0000000000000001"
secret = "x"
region = "1"
[[account]]
id = "c"
platform = "city"
identity = "me"
secret = "s"
region = "1"
options = { quarter = "north" }
"""
POST = """
[[post]]
id = "p1"
kind = "warning"
template = "warning"
author = "zhang"
title = "警惕退款诈骗"
at = "asap"
to = ["all"]
[post.data]
summary = "退款不用转账"
"""
_numbers = count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package for the platform `city`.

    The function also makes a workspace with an account there.
    """

    def install(code=FACTORY, settings=ACCOUNTS, entries="city = {module}:CITY"):
        number = next(_numbers)
        folder, module = tmp_path / f"site{number}", f"city_site_{number}"
        facts = folder / f"{module}-1.0.dist-info"
        facts.mkdir(parents=True)
        (folder / f"{module}.py").write_text(code)
        (facts / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n"
        )
        (facts / "entry_points.txt").write_text(
            f"[publisher.adapters]\n{entries.format(module=module)}\n"
        )
        monkeypatch.syspath_prepend(folder)
        (tmp_path / "publisher.toml").write_text(settings)
        return asyncio.run(load_settings(tmp_path))

    yield install
    for name in [name for name in sys.modules if name.startswith("city_site_")]:
        del sys.modules[name]


def found(settings) -> list[tuple[str, bool, int]]:
    """Return each problem's code, whether it is an error, and its line."""
    problems = find_adapter_problems(settings)
    return [
        (item.code, item.is_error, item.location.line if item.location else 0)
        for item in problems
    ]


def test_a_package_that_keeps_the_contract_is_used(install):
    """A package that keeps the contract is used.

    Nothing is reported, its accounts have policies, and its words are shown in both languages.
    """
    settings = install()
    assert find_adapter_problems(settings) == ()
    assert set(build_offline_app(settings).policies) == {"w", "c"}
    problem = Problem(code="city_too_loud", facts={"word": "喂"})
    assert Messages("en").format_problem(problem) == "喂 is too loud (hush)"
    assert Messages().format_problem(problem) == "喂 太响 (轻点)"
    assert Messages("en").platform_name("city") == "City site"
    assert Messages("en").translate("place_city") == "the city's console"


def test_publisher_is_typed_for_packages():
    """A type checker reads the types of the contract from the installed package."""
    assert files("publisher").joinpath("py.typed").is_file()


def test_a_package_may_bring_pages_for_its_own_platform_only(install, tmp_path):
    """A package's page is used where no folder has one.

    A page for another platform in the same folder has no effect.
    """
    pages = tmp_path / "pages" / "warning"
    pages.mkdir(parents=True)
    (pages / "city.txt").write_text("{{ marker }} {{ post.title }}")
    (pages / "other.txt").write_text("{{ marker }}")
    settings = install(
        FACTORY.replace(
            "contract = 1", f"contract = 1\n    templates = Path({str(pages.parent)!r})"
        )
    )
    templates = build_offline_app(settings).post_renderer.templates
    assert (
        templates.page_for("warning", "city", TEST_CAPABILITIES) == "warning/city.txt"
    )
    assert (
        templates.page_for("warning", "other", TEST_CAPABILITIES) == "_shared/plain.txt"
    )


def test_a_public_field_of_a_secret_stays_readable(install):
    """A public field of a secret stays readable: its value may be an identity.

    Every other field is redacted after it was read.
    """
    settings = install(
        FACTORY.replace("contract = 1", "contract = 1\n    public_fields = ('app',)")
    )
    folder = settings.workspace / "secrets"
    folder.mkdir()
    (folder / "s").write_text(
        '{"app": "app-PQ7xTf02LmWzK9", "key": "key-Vb3nRy81HsJdC4"}'
    )
    build_offline_app(replace(settings, secrets_dir=folder))
    assert redact_text("app-PQ7xTf02LmWzK9") == "app-PQ7xTf02LmWzK9"
    assert "Vb3nRy81HsJdC4" not in redact_text("it was key-Vb3nRy81HsJdC4")


def test_a_bug_in_validate_refuses_the_post_only(install, capsys):
    """It is a problem of that post on that account; the other account is checked as ever."""
    settings = install(
        FACTORY.replace("return ()\n", "raise ZeroDivisionError('soft')\n", 1)
    )
    (settings.workspace / "schedule.toml").write_text(POST)
    assert run_command(["-C", str(settings.workspace), "--lang", "en", "check"]) == 1
    shown = capsys.readouterr().out
    assert shown.count("cannot check this post: ZeroDivisionError: soft") == 1


def test_a_code_without_words_keeps_its_facts(install):
    """A code without a text in the package is shown with all its facts, except its place."""
    install()
    problem = Problem(
        code="city_unheard",
        facts={"length": "5", "limit": "3", "account": "c", "key": "title"},
    )
    assert Messages("en").describe(problem) == "city_unheard (length=5, limit=3)"
    assert Messages("en").is_reason_of_platform("city_unheard")
    assert not Messages("en").is_reason_of_platform("cityhall burnt down")


@pytest.mark.parametrize("platform", ["weibo2", "weibo_pro"])
def test_a_platform_whose_name_begins_like_another_has_its_own_words(install, platform):
    """A platform with a name that begins like another's has its own words.

    It gets neither the other's name nor its texts. It may have a text for a code with the same end.
    """
    code = FACTORY.replace("city_too_loud", f"{platform}_20021").replace(
        "city_", f"{platform}_"
    )
    code = code.replace("place_city", f"place_{platform}")
    install(code, entries=platform + " = {module}:CITY")
    messages = Messages("en")
    assert load_factory(platform).messages
    assert messages.translate(f"{platform}_20021", word="x") == "x is too loud"
    assert messages.platform_name(platform) == "City site"
    assert messages.translate(f"{platform}_10001") == f"{platform}_10001"
    assert messages.translate("weibo_20021") != "weibo_20021"


def test_an_accounts_own_problem_is_at_its_line_although_no_post_goes_there(install):
    """An account's own problem is reported at its line although no post goes there.

    The key that the package names leads to the line. The problem blocks automatic posting. An
    account that is off passes.
    """
    settings = install(settings=ACCOUNTS.replace("quarter", "district"))
    [problem] = find_adapter_problems(settings)
    assert (problem.code, problem.location.path) == (
        "city_no_quarter",
        "account[1].options.quarter",
    )
    assert Messages("en").describe(problem) == "c has no quarter"
    assert find_api_blocker(settings.accounts[AccountId("c")]).code == "city_no_quarter"
    with pytest.raises(SettingsError):
        build_offline_app(settings)
    (settings.workspace / "publisher.toml").write_text(
        ACCOUNTS.replace("quarter", "district") + 'mode = "off"\n'
    )
    assert find_adapter_problems(asyncio.run(load_settings(settings.workspace))) == ()


def _with_hook(code: str) -> str:
    return FACTORY.replace("    def hosts(", f"    {code}\n\n    def hosts(")


BROKEN = {
    "import": ("raise ImportError('no such thing')", "adapter_not_loaded"),
    "syntax": ("def (", "adapter_not_loaded"),
    "exit": ("raise SystemExit(3)", "adapter_not_loaded"),
    "attribute": ("OTHER = 1", "adapter_not_loaded"),
    "no contract": (
        FACTORY.replace("    contract = 1\n", ""),
        "adapter_wrong_contract",
    ),
    "later contract": (
        FACTORY.replace("contract = 1", "contract = 2"),
        "adapter_wrong_contract",
    ),
    "no validate": (
        FACTORY.replace("def validate", "def validated"),
        "adapter_incomplete",
    ),
    "no defaults": (
        FACTORY.replace("    defaults =", "    default ="),
        "adapter_incomplete",
    ),
    "no method": (
        FACTORY.replace("return FakeAdapter(now=context.now)", "return object()"),
        "adapter_incomplete",
    ),
    "half a text": (
        FACTORY.replace('"zh_CN": "{word} 太响", ', ""),
        "adapter_hook_wrong",
    ),
    "open brace": (
        FACTORY.replace('"{word} is too loud"', '"{word is too loud"'),
        "adapter_hook_wrong",
    ),
    "JSON in a hint": (
        FACTORY.replace('"hush"', """'store {"token": "…"}'"""),
        "adapter_hook_wrong",
    ),
    "text of another": (
        FACTORY.replace('"city_too_loud"', '"hold_auth"'),
        "adapter_text_foreign",
    ),
    "hosts as text": (
        FACTORY.replace('return ("city.example",)', 'return ("city.example")'),
        "adapter_hook_wrong",
    ),
    "templates as text": (
        FACTORY.replace("contract =", "templates = 'pages'\n    contract ="),
        "adapter_hook_wrong",
    ),
    "sign_in as text": (
        FACTORY.replace("contract =", "sign_in = 'page'\n    contract ="),
        "adapter_hook_wrong",
    ),
    "empty callbacks": (
        FACTORY.replace("contract =", "callbacks = object()\n    contract ="),
        "adapter_hook_wrong",
    ),
    "capabilities": (
        FACTORY.replace("return TEST_CAPABILITIES", "return None"),
        "adapter_hook_wrong",
    ),
    "capabilities fail": (
        FACTORY.replace("return TEST_CAPABILITIES", "raise KeyError(1)"),
        "adapter_failed",
    ),
    "create fails": (
        FACTORY.replace("return FakeAdapter(now=context.now)", "context.secret()"),
        "adapter_failed",
    ),
    "check fails": (
        FACTORY.replace('if "quarter"', 'if 1 / 0 and "quarter"'),
        "adapter_failed",
    ),
    "call_method as text": (_with_hook("call_method = 'loud'"), "adapter_hook_wrong"),
    "hosts fail": (
        FACTORY.replace('return ("city.example",)', "return 1 / 0"),
        "adapter_failed",
    ),
    "no problem": (
        FACTORY.replace('if "quarter"', 'yield 1\n        if "quarter"'),
        "adapter_hook_wrong",
    ),
}


@pytest.mark.parametrize(
    ("hosts", "identity"),
    [
        ('("city.example",)', "me"),
        ('("city.example", *account.options)', "me"),
        ("None", "me"),
        ("tuple(account.options.values())", "me (north)"),
        ('(account.options["quarter"],)', "me (north)"),
        (
            '(account.options.get("quarter", "city") + ".example",)',
            "me (north.example)",
        ),
        (
            '("https://" + account.options.get("quarter", "city") + ".example/api/",)',
            "me (north.example/api)",
        ),
    ],
    ids=[
        "one place",
        "one more host",
        "any host",
        "a server of its own",
        "a required option",
        "another server",
        "another address",
    ],
)
def test_f96_an_account_on_a_server_of_its_own_is_another_one(install, hosts, identity):
    """F96, F97: an account is its identity, and its server if the options give the hosts."""
    policies = build_policies(install(FACTORY.replace('("city.example",)', hosts)))
    assert (policies[AccountId("c")].identity, policies[AccountId("w")].identity) == (
        identity,
        "wx0000000000000001",
    )


@pytest.mark.parametrize(
    ("hook", "method"),
    [
        ("", ""),
        (
            (
                "def call_method(self, account, rendered, *, is_urgent): "
                "return 'loud' if is_urgent else 'quiet'"
            ),
            "loud",
        ),
    ],
)
def test_f99_a_package_may_name_the_way_of_a_call(install, hook, method):
    """F99: a package's name for the call of a post is stored with the attempt.

    Without the member there is only one way.
    """
    policy = build_policies(install(_with_hook(hook)))[AccountId("c")]
    post = make_post("p", ["c"], START_TIME)
    [rendered] = make_rendered_delivery(post, START_TIME).revision.rendered_posts
    assert policy.call_method(rendered, is_urgent=True) == method


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_package_is_a_problem_at_its_accounts_line(install, capsys, broken):
    """A broken package is a problem at its account's line, in `check` and at the start.

    The problem names package, account and remedy in both languages, without a traceback.
    """
    code, expected = BROKEN[broken]
    settings = install(code)
    line = 1 + ACCOUNTS[: ACCOUNTS.index('"city"')].count("\n")
    assert found(settings) == [(expected, True, line)]
    with pytest.raises(SettingsError) as refused:
        build_offline_app(settings)
    assert [item.code for item in refused.value.problems] == [expected]
    (settings.workspace / "schedule.toml").write_text("")
    for lang in ("zh_CN", "en"):
        assert (
            run_command(["-C", str(settings.workspace), "--lang", lang, "check"]) == 1
        )
        shown = capsys.readouterr().out
        assert len(re.findall(r"city_site_\d+ 1\.0", shown)) == 1, shown
        assert " c " in shown
        assert Messages(lang).hint(expected, platform="city") in shown


def test_the_other_accounts_go_on_where_the_accounts_of_a_broken_package_are_off(
    install,
):
    """The problem is a warning then, and everything else is built."""
    settings = install("raise ImportError", settings=ACCOUNTS + 'mode = "off"\n')
    assert [item[:2] for item in found(settings)] == [("adapter_not_loaded", False)]
    assert set(build_offline_app(settings).policies) == {"w"}


SECOND = (
    ACCOUNTS[ACCOUNTS.index('[[account]]\nid = "c"') :]
    .replace('"c"', '"d"')
    .replace('"me"', '"other"')
)
FAILING = FACTORY.replace(
    "return FakeAdapter", "account.options['quarter']\n        return FakeAdapter"
)


def test_an_account_that_is_off_stops_nobody_although_its_adapter_fails(install):
    """An account that is off blocks no other account although its adapter fails.

    Its settings are not checked. It is left out with a warning, and an account of the same platform
    goes on.
    """
    settings = install(
        FAILING,
        settings=ACCOUNTS + SECOND.replace("quarter", "district") + 'mode = "off"\n',
    )
    line = 1 + (ACCOUNTS + SECOND).partition('"d"')[0].count("\n") + 1
    assert found(settings) == [("adapter_failed", False, line)]
    assert set(build_offline_app(settings).policies) == {"w", "c"}


@pytest.mark.parametrize("command", ["cancel", "retract", "why"])
def test_posts_are_stopped_and_explained_with_a_broken_package(
    install, capsys, command
):
    """Commands that send nothing work with a broken package.

    They leave its accounts out, with a note, and fail for their own reasons only.
    """
    settings = install("raise ImportError")
    assert set(build_policies(settings)) == {"w"}
    person = [] if command == "why" else ["--by", "zhang", "--reason", "x"]
    assert run_command(["-C", str(settings.workspace), "--lang", "en", "migrate"]) == 0
    code = run_command(
        [
            "-C",
            str(settings.workspace),
            "--lang",
            "en",
            command,
            "no-such-post",
            *person,
        ]
    )
    shown = capsys.readouterr()
    assert code == 4, shown
    assert "the adapters of c cannot be used" in shown.err


def test_a_name_taken_twice_is_refused(install):
    """A name taken twice is refused, for a built-in platform or another, used or not.

    The adapter to call would be ambiguous.
    """
    settings = install(entries="wechat = {module}:CITY\ncity = {module}:CITY")
    assert ("adapter_duplicate", True) in [item[:2] for item in found(settings)]
    install(entries="tieba = {module}:CITY\ncity = {module}:OTHER")
    settings = install(
        entries="webhook = {module}:CITY\nunused = {module}:CITY\ncity = {module}:CITY"
    )
    texts = [Messages("en").describe(item) for item in find_adapter_problems(settings)]
    assert sum("publisher, city_site_" in text for text in texts) == 3


def test_a_platform_without_adapter_is_answered_with_similar_names(install):
    """An account or limits on a platform that is misspelt are at their lines."""
    settings = install(
        settings=ACCOUNTS.replace('"city"', '"citty"')
        + "[limits.weebo]\nper_hour = 1\n"
    )
    problems = find_adapter_problems(settings)
    assert [
        (item.code, item.facts["choices"], item.location.path) for item in problems
    ] == [
        ("unknown_platform", "city", "account[1].platform"),
        ("unknown_platform", "weibo", "limits.weebo"),
    ]
