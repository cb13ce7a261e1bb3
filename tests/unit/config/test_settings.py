"""From the text of publisher.toml to settings, or to every problem with its place."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.app.adapters import (
    build_policies,
    find_adapter_problems,
    find_api_blocker,
    find_unsafe_timings,
)
from publisher.config import (
    Environment,
    LimitEntry,
    Settings,
    apply_overrides,
    find_schedule_file,
    load_settings,
    parse_settings,
    suggest_timezone,
)
from publisher.domain.account import Mode, RateLimit, Timing
from publisher.domain.approval import Stage
from publisher.domain.errors import SettingsError
from publisher.schedule.load import make_schedule_context
from publisher.settings_file import settings_schema
from tests.unit.schedule.contexts import reported

WORKSPACE = Path("/srv/police")

FULL = """environment = "live"
timezone = "Asia/Urumqi"
database = "postgresql://user@host/db"
plan_days = 5
secrets_dir = "secrets"
public_ip = "211.156.0.1"
[dashboard]
listen = "0.0.0.0:80"
proxy = "10.0.0.1"
url = "https://publish.example.gov.cn"
[callbacks]
listen = "127.0.0.1:8701"
[audit]
checkpoint_file = "anchors.log"
syslog = true
[limits.weibo]
min_interval = "30s"
per_hour = 30
per_day = 100
request_timeout = 20
lease_timeout = "40s"
visibility_window = "10m"
first_check_after = "5s"
retry_first = "1s"
platform_clock_tolerance = "2m"
[region.110000]
name = "北京"
hotline = "110"
[groups]
north = ["beijing-weibo", "beijing-tieba"]
[[account]]
id = "beijing-weibo"
platform = "weibo"
identity = "1404376560"
region = "110000"
secret = "weibo-beijing"
link_template = "https://example.gov.cn/n/{marker}"
base_url = "https://proxy.example.gov.cn/weibo/"
public_ip = "211.156.0.2"
[[account]]
id = "beijing-tieba"
platform = "tieba"
identity = "tb.1.abc"
secret = "tieba-beijing"
forum = "示例"
accept_risk = true
"""

WEIBO = """[[account]]
id = "w"
platform = "weibo"
identity = "1"
secret = "w"
link_template = "https://example.gov.cn/{marker}"
"""
WECHAT = """[[account]]
id = "x"
platform = "wechat"
identity = "wx0123456789abcdef"
secret = "x"
"""
TIEBA = """[[account]]
id = "t"
platform = "tieba"
identity = "tb.1"
secret = "t"
"""
GATEWAY = 'base_url = "http://127.0.0.1:8710"\n'


def read(text: str) -> Settings:
    return parse_settings(text, workspace=WORKSPACE)


def refusal(text: str) -> SettingsError:
    """Return the error of a settings file, else of its accounts by their platforms' rules."""
    try:
        settings = read(text)
    except SettingsError as error:
        return error
    return SettingsError(
        [problem for problem in find_adapter_problems(settings) if problem.is_error]
    )


@pytest.mark.parametrize(
    "spellings",
    [
        ("", 'base_url = "https://proxy.example.gov.cn"'),
        (
            'base_url = "https://one.example.gov.cn"',
            'base_url = "https://two.example.gov.cn"',
        ),
        ('base_url = "http://127.0.0.1:8710"', 'base_url = "http://LOCALHOST:8710/"'),
    ],
    ids=["direct and by a proxy", "two proxies", "two names of this machine"],
)
def test_f97_one_identity_is_one_account_however_it_is_reached(
    spellings: tuple[str, str],
) -> None:
    """An identity has one place on a platform; `base_url` only sets the way to call it."""
    first, second = spellings
    again = WEIBO.replace('id = "w"', 'id = "v"')
    text = f"{WEIBO}{first}\n{again}{second}\n"
    assert [problem.code for problem in refusal(text).problems] == ["same_identity"]


WEBHOOK = """[[account]]
id = "{id}"
platform = "webhook"
identity = "police"
secret = "{id}"
options = {{ url = "{url}" }}
"""


@pytest.mark.parametrize(
    ("url", "codes"),
    [
        ("https://two.example.gov.cn/posts", []),
        ("https://one.example.gov.cn/other", []),
        ("https://ONE.example.gov.cn:443/posts/", ["same_identity"]),
        ("http://one.example.gov.cn/posts", ["same_identity"]),
    ],
    ids=["another server", "another path", "another spelling", "another scheme"],
)
def test_f97_an_identity_on_a_server_of_ones_own_counts_for_each_server(
    url: str, codes: list[str]
) -> None:
    """Receivers name their accounts as they like; two spellings of one address are one receiver."""
    text = WEBHOOK.format(
        id="a", url="https://one.example.gov.cn/posts"
    ) + WEBHOOK.format(id="b", url=url)
    found = [problem.code for problem in refusal(text).problems]
    assert [code for code in found if code == "same_identity"] == codes


def test_every_key_is_parsed() -> None:
    """Settings that use every key are parsed completely."""
    found = read(FULL)
    assert (found.environment, found.timezone.key, found.plan_days) == (
        Environment.LIVE,
        "Asia/Urumqi",
        5,
    )
    assert found.database == "postgresql://user@host/db"
    assert found.secrets_dir == WORKSPACE / "secrets"
    assert found.callbacks.listen == "127.0.0.1:8701"
    assert (found.audit.checkpoint_file, found.audit.syslog) == ("anchors.log", True)
    assert found.regions == {"110000": {"name": "北京", "hotline": "110"}}
    assert found.groups == {"north": ("beijing-weibo", "beijing-tieba")}
    assert found.limits["weibo"] == LimitEntry(
        min_interval=timedelta(seconds=30),
        per_hour=30,
        per_day=100,
        request_timeout=timedelta(seconds=20),
        lease_timeout=timedelta(seconds=40),
        visibility_window=timedelta(minutes=10),
        first_check_after=timedelta(seconds=5),
        retry_first=timedelta(seconds=1),
        platform_clock_tolerance=timedelta(minutes=2),
    )
    weibo, tieba = found.accounts.values()
    assert (weibo.base_url, weibo.public_ip, weibo.region) == (
        "https://proxy.example.gov.cn/weibo",
        "211.156.0.2",
        "110000",
    )
    assert (tieba.forum, tieba.has_accepted_risk, tieba.public_ip, tieba.mode) == (
        "示例",
        True,
        "211.156.0.1",
        Mode.API,
    )


def test_defaults_apply_when_nothing_is_set() -> None:
    """Defaults: live, Shanghai, SQLite in the workspace, two days, the local dashboard."""
    found = read("# nothing yet\n")
    assert found.database == "sqlite:////srv/police/var/publisher.db"
    assert (found.environment, found.timezone.key, found.plan_days) == (
        Environment.LIVE,
        "Asia/Shanghai",
        2,
    )
    assert found.secrets_dir is None
    assert found.callbacks.listen is None
    assert (found.audit.checkpoint_file, found.audit.syslog) == (
        "var/audit-anchors.log",
        False,
    )


def test_an_absolute_database_path_stays() -> None:
    """Four slashes name a file anywhere on the machine."""
    assert read('database = "sqlite:////data/p.db"').database == "sqlite:////data/p.db"


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("# nothing", ""),
        ('staff_dir = "staff"', "/staff"),
        ('staff_dir = "."', ""),
        ('staff_dir = "../staff/"', "/../staff"),
    ],
)
def test_what_staff_write_is_in_one_folder(text: str, folder: str) -> None:
    """The schedule is in the staff's folder, by default the workspace."""
    wanted = Path(os.path.normpath(f"/srv/police{folder}"))
    assert (read(text).staff_folder, read(text).schedule_file) == (
        wanted,
        wanted / "schedule.toml",
    )


@pytest.mark.parametrize(
    "folder", ["var", "var/staff", "templates", "..", "/srv", "/", "secrets/of/staff"]
)
def test_the_staffs_folder_has_nothing_else_in_it(folder: str) -> None:
    """A folder with settings, templates, secrets or the database is refused with its place.

    A folder that lies in one of them is refused as well.
    """
    [problem] = refusal(f'staff_dir = "{folder}"\nsecrets_dir = "secrets"').problems
    assert (problem.code, problem.location.line, problem.facts) == (
        "bad_staff_dir",
        1,
        {"value": folder},
    )


def test_the_database_is_not_in_the_staffs_folder() -> None:
    """Staff could else replace the database."""
    [problem] = refusal(
        'staff_dir = "staff"\ndatabase = "sqlite:///staff/db/publisher.db"'
    ).problems
    assert problem.code == "bad_staff_dir"


@pytest.mark.parametrize(
    "more",
    [
        '[dashboard]\ncertificate = "tls/cert.pem"\nkey = "staff/tls/key.pem"',
        '[dashboard]\ncertificate = "staff/cert.pem"\nkey = "tls/key.pem"',
        '[audit]\ncheckpoint_file = "staff/audit.log"',
    ],
)
def test_no_file_of_the_operator_is_in_the_staffs_folder(more: str) -> None:
    """Staff could else read the key of the pages, or replace the checkpoints of the audit."""
    [problem] = refusal(f'staff_dir = "staff"\n{more}').problems
    assert problem.code == "bad_staff_dir"


def test_a_link_does_not_hide_what_is_in_the_staffs_folder(tmp_path: Path) -> None:
    """Only the real places of the folders count."""
    (tmp_path / "staff").mkdir()
    for name in ("var", "keys"):
        (tmp_path / name).symlink_to("staff")
        with pytest.raises(SettingsError):
            parse_settings(
                'staff_dir = "staff"\nsecrets_dir = "keys"', workspace=tmp_path
            )
        (tmp_path / name).unlink()


def test_a_link_to_the_database_is_followed_unless_another_user_may_have_put_it_there(
    tmp_path: Path,
) -> None:
    """One file has one name; a planted link stays in the name, and opening it is refused.

    The code that opens the database refuses such a link.
    """
    (tmp_path / "var" / "db").mkdir(parents=True)
    (tmp_path / "var" / "db" / "publisher.db").symlink_to("../vault.json")
    (tmp_path / "link.db").symlink_to("var/db/publisher.db")
    for folder, name in ((0o770, "var/vault.json"), (0o2770, "var/db/publisher.db")):
        (tmp_path / "var" / "db").chmod(folder)
        for database in ("var/db/publisher.db", "link.db"):
            settings = parse_settings(
                f'database = "sqlite:///{database}"', workspace=tmp_path
            )
            assert settings.database == f"sqlite:///{tmp_path.resolve() / name}"


def test_the_schedule_is_found_by_settings_with_a_fault(tmp_path: Path) -> None:
    """`check` reports the problems of settings and schedule together."""
    file = tmp_path / "publisher.toml"
    assert find_schedule_file(tmp_path) == tmp_path / "schedule.toml"
    file.write_text('staff_dir = "staff"\nplan_days = 0\n', "utf-8")
    assert find_schedule_file(tmp_path) == tmp_path / "staff" / "schedule.toml"
    file.write_text("staff_dir = 3\n", "utf-8")
    assert find_schedule_file(tmp_path) == tmp_path / "schedule.toml"


def test_a_password_in_the_database_address_is_not_shown() -> None:
    """Neither the settings' representation nor a problem repeats the database's address."""
    assert "hunter2" not in repr(read('database = "postgresql://u:hunter2@h/d"'))
    assert "hunter2" not in str(refusal('database = "mysql://u:hunter2@h/d"').problems)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('timezone = "Asia/Peking"', (1, 12, "timezone", "unknown_timezone")),
        ('timezone = "../../etc/passwd"', (1, 12, "timezone", "unknown_timezone")),
        ('database = "sqlite:///:memory:"', (1, 12, "database", "bad_database")),
        ('database = "sqlite://"', (1, 12, "database", "bad_database")),
        (
            'database = "postgresql://u:pass@word@host/db"',
            (1, 12, "database", "bad_database"),
        ),
        (
            'database = "postgresql://u:pass@host:port/db"',
            (1, 12, "database", "bad_database"),
        ),
        ("plan_days = 0", (1, 13, "plan_days", "too_small")),
        ("plan_days = 1000", (1, 13, "plan_days", "too_great")),
        ("plan_days = true", (1, 13, "plan_days", "wrong_type")),
        ('environment = "test"', (1, 15, "environment", "not_one_of")),
        ('public_ip = "1.2.3"', (1, 13, "public_ip", "bad_ip")),
        ('[dashboard]\nlisten = "8700"', (2, 10, "dashboard.listen", "bad_listen")),
        ('[dashboard]\nlisten = "h:99999"', (2, 10, "dashboard.listen", "bad_listen")),
        ('[callbacks]\nlisten = "8701"', (2, 10, "callbacks.listen", "bad_listen")),
        (
            '[limits.weebo]\nmin_interval = "1s"',
            (1, 1, "limits.weebo", "unknown_platform"),
        ),
        (
            '[limits.weibo]\nmin_intervall = "1s"',
            (2, 1, "limits.weibo.min_intervall", "unknown_key"),
        ),
        (
            '[limits.weibo]\nmin_interval = "1 hour"',
            (2, 16, "limits.weibo.min_interval", "bad_duration"),
        ),
        ("[limits.weibo]\nper_hour = 0", (2, 12, "limits.weibo.per_hour", "too_small")),
        (
            "[limits.weibo]\nvisibility_window = 0",
            (2, 21, "limits.weibo.visibility_window", "not_zero"),
        ),
        (
            '[limits.weibo]\nrequest_timeout = "1m"\nlease_timeout = "1m"',
            (3, 17, "limits.weibo.lease_timeout", "wrong_order"),
        ),
        (
            '[limits.weibo]\nrequest_timeout = "2m"\nvisibility_window = "1m"',
            (3, 21, "limits.weibo.visibility_window", "wrong_order"),
        ),
        (
            "[limits.weibo]\nper_hour = 9\nper_day = 8",
            (2, 12, "limits.weibo.per_hour", "hour_over_day"),
        ),
        (
            "[region.110000]\nhotline = 110",
            (2, 11, "region.110000.hotline", "wrong_type"),
        ),
        (
            '[groups]\nnorth = ["w",\n "v"]\n' + WEIBO,
            (3, 2, "groups.north[1]", "unknown_member"),
        ),
        (
            '[groups]\nnorth = ["w", "w"]\n' + WEIBO,
            (2, 15, "groups.north[1]", "duplicate_member"),
        ),
        ('[groups]\nw = ["w"]\n' + WEIBO, (2, 1, "groups.w", "bad_group_name")),
        ('[groups]\nall = ["w"]\n' + WEIBO, (2, 1, "groups.all", "bad_group_name")),
        (WEIBO + 'region = "1"', (7, 10, "account[0].region", "unknown_region")),
        (WEIBO + "identify = 1", (7, 1, "account[0].identify", "unknown_key")),
        (WEIBO.replace('"1"', "1"), (4, 12, "account[0].identity", "wrong_type")),
        (
            WEIBO.replace('"weibo"', '"webo"'),
            (3, 12, "account[0].platform", "unknown_platform"),
        ),
        (TIEBA + 'mode = "assisted"', (1, 1, "account[0].forum", "tieba_no_forum_set")),
        (
            WEIBO.replace("{marker}", "x"),
            (6, 17, "account[0].link_template", "bad_link_template"),
        ),
        (
            WEIBO.replace("https", "ftp"),
            (6, 17, "account[0].link_template", "bad_link_template"),
        ),
        (
            WEIBO.replace("link_template", "#"),
            (1, 1, "account[0].link_template", "weibo_link_template_missing"),
        ),
        (
            WEIBO + 'profile = "sahre"',
            (7, 11, "account[0].profile", "weibo_profile_unknown"),
        ),
        (WEIBO + 'forum = "a"', (7, 9, "account[0].forum", "key_not_used")),
        (
            WEIBO + 'base_url = "127.0.0.1:8710"',
            (7, 12, "account[0].base_url", "bad_base_url"),
        ),
        (
            WEIBO + 'base_url = "http://u@h/"',
            (7, 12, "account[0].base_url", "bad_base_url"),
        ),
        (
            WEIBO + 'base_url = "http://gateway.example.com"',
            (7, 12, "account[0].base_url", "base_url_not_https"),
        ),
        (
            WECHAT + 'base_url = "http://10.0.0.5:8710"',
            (6, 12, "account[0].base_url", "base_url_not_https"),
        ),
        (
            WEIBO + 'public_ip = "10.0.0.5"',
            (7, 13, "account[0].public_ip", "weibo_ip_not_public"),
        ),
        (
            WEIBO + 'public_ip = "2001:4860:4860::8888"',
            (7, 13, "account[0].public_ip", "weibo_ip_not_public"),
        ),
        ('public_ip = "::1"\n' + WEIBO, (1, 13, "public_ip", "weibo_ip_not_public")),
        (
            WEIBO + WEIBO.replace('"1"', '"2"'),
            (8, 6, "account[1].id", "duplicate_account"),
        ),
        (
            WEIBO + WEIBO.replace('id = "w"', 'id = "v"'),
            (10, 12, "account[1].identity", "same_identity"),
        ),
        (
            WEIBO
            + GATEWAY
            + WEIBO.replace('id = "w"', 'id = "v"')
            + GATEWAY.replace("8710", "8710/"),
            (11, 12, "account[1].identity", "same_identity"),
        ),
        (
            TIEBA + "accept_risk = true",
            (1, 1, "account[0].forum", "tieba_no_forum_set"),
        ),
        (
            TIEBA + 'forum = "a"',
            (1, 1, "account[0].accept_risk", "tieba_risk_not_accepted"),
        ),
        ('[account]\nid = "w"', (1, 1, "account", "single_brackets")),
        (
            '[[approvals.warning]]\nstage = "初审"\n[[approvals.warning]]\nstage = "初审"',
            (4, 9, "approvals.warning[1].stage", "duplicate_stage"),
        ),
        ("approvals.advice = []", (1, 20, "approvals.advice", "not_one_of")),
        (
            '[[approvals.warning]]\nstage = "初审"\nrole = "viewer"',
            (3, 8, "approvals.warning[0].role", "not_one_of"),
        ),
    ],
)
def test_each_mistake_has_its_code_and_place(
    text: str, where: tuple[int, int, str, str]
) -> None:
    """One mistake gives one problem, with the line and column to change."""
    assert reported(refusal(text)) == [where]


def test_a_kind_without_stages_of_its_own_has_those_of_the_preset() -> None:
    """An empty list exempts a kind; without any setting nothing needs an approval, and no user."""
    text = (
        'approval_preset = "三审三校"\napprovals.bulletin = []\n'
        '[[approvals.update]]\nstage = "值班"\npeople = 2\n'
    )
    settings = read(text)
    rules, problem = settings.approval_rules, settings.users_needed
    assert [stage.name for stage in rules.chain_for("warning")] == [
        "初审",
        "复审",
        "终审",
    ]
    assert rules.chain_for("bulletin") == ()
    assert rules.chain_for("update") == (Stage(name="值班", people=2),)
    assert problem is not None
    assert problem.location is not None
    assert (problem.code, problem.location.line) == ("approvals_need_users", 3)
    assert not read(WEIBO).approval_rules.is_active
    assert read(WEIBO).users_needed is None


def test_one_identity_may_be_at_two_servers() -> None:
    """On platforms with many servers a name is unique at each of them only."""
    second = WEIBO.replace('id = "w"', 'id = "v"') + GATEWAY
    assert len(read(WEIBO + second).accounts) == 2


def test_accepted_addresses() -> None:
    """Loopback needs no https.

    Other platforms, drills and manual posting need no public address.
    """
    addresses = (
        'base_url = "http://127.0.0.1:8710"',
        'base_url = "https://gateway.example.com"',
    )
    assert all(read(WEIBO + address).accounts for address in addresses)
    private = 'public_ip = "10.0.0.5"\n'
    assert read(private + WECHAT + WEIBO + 'mode = "assisted"\n').accounts
    assert read('environment = "drill"\n' + private + WEIBO + addresses[0]).accounts


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (WEIBO, ["w"]),
        ('public_ip = "211.156.0.1"\n' + WEIBO, []),
        (WEIBO + 'public_ip = "211.156.0.1"\n', []),
        (WEIBO + 'mode = "assisted"\n', []),
        (WECHAT, []),
        (
            'environment = "drill"\n' + WEIBO + 'base_url = "http://127.0.0.1:8710"\n',
            [],
        ),
    ],
)
def test_a_weibo_account_without_a_public_address_is_reported(
    text: str, named: list[str]
) -> None:
    """The check warns of a Weibo account without a public address and names it.

    Weibo would reject every post without an address.
    """
    settings = read(text)
    found = find_adapter_problems(settings)
    assert [
        (problem.code, problem.is_error, problem.facts["account"]) for problem in found
    ] == [("weibo_public_ip_missing", False, name) for name in named]


def test_several_mistakes_are_reported_at_once() -> None:
    """Mistakes in different accounts and tables are reported together, in the file's order."""
    text = (
        'timezone = "Mars"\n[groups]\nn = ["y"]\n'
        + TIEBA
        + WEIBO.replace("{marker}", "")
    )
    assert [code for *_, code in reported(refusal(text))] == [
        "unknown_timezone",
        "unknown_member",
        "bad_link_template",
    ]
    assert [
        code
        for *_, code in reported(refusal(TIEBA + WEIBO.replace("link_template", "#")))
    ] == [
        "tieba_no_forum_set",
        "tieba_risk_not_accepted",
        "weibo_link_template_missing",
    ]


def test_an_account_that_is_off_needs_no_permission() -> None:
    """A disabled Tieba account needs no forum, and a disabled Weibo account needs no link."""
    found = read(
        TIEBA
        + 'mode = "off"\n'
        + WEIBO.replace("link_template", "#")
        + 'mode = "off"\n'
    )
    assert {account.mode for account in found.accounts.values()} == {Mode.OFF}


def test_an_account_with_manual_posting_needs_no_permission() -> None:
    """Tieba's accepted risk and Weibo's link are needed only for automatic posting."""
    text = (
        TIEBA
        + 'forum = "a"\nmode = "assisted"\n'
        + WEIBO.replace("link_template", "#")
        + 'mode = "assisted"\n'
    )
    found = read(text)
    assert {account.mode for account in found.accounts.values()} == {Mode.ASSISTED}
    assert [
        getattr(find_api_blocker(account), "code", None)
        for account in found.accounts.values()
    ] == [
        "tieba_risk_not_accepted",
        "weibo_link_template_missing",
    ]


@pytest.mark.parametrize("profile", ["update", "biz"])
def test_a_granted_weibo_account_needs_no_link(profile: str) -> None:
    """Only the call of an ordinary Weibo app needs a link.

    The profiles of other platforms are checked by their adapters.
    """
    found = read(
        WEIBO.replace("link_template", "#")
        + f'profile = "{profile}"\n'
        + WECHAT
        + 'profile = "any"\n'
    )
    assert [account.profile for account in found.accounts.values()] == [profile, "any"]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("", "drill_needs_base_url"),
        ('base_url = "https://api.weibo.com"', "drill_not_loopback"),
        ('base_url = "http://localhost.example.com"', "drill_not_loopback"),
        ('base_url = "http://10.0.0.1:8710"', "drill_not_loopback"),
        ('base_url = "http://[::2]:8710"', "drill_not_loopback"),
        ('base_url = "http://127.0.0.1:8710@example.com/"', "bad_base_url"),
    ],
)
def test_f95_a_drill_reaches_this_machine_only(address: str, code: str) -> None:
    """In a drill every account needs an address, and only loopback is accepted."""
    assert [
        problem.code
        for problem in refusal('environment = "drill"\n' + WEIBO + address).problems
    ] == [code]


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8710", "localhost:8710", "[::1]:8710", "127.8.9.1"]
)
def test_f95_loopback_has_several_names(host: str) -> None:
    """Every loopback address is accepted in a drill."""
    found = read('environment = "drill"\n' + WECHAT + f'base_url = "http://{host}"')
    # ids are plain texts at run time
    assert found.accounts["x"].base_url == f"http://{host}"  # type: ignore[index]


@pytest.mark.parametrize(
    "secret", ['"2.00canary"', '"{\\"app_key\\":\\"canary\\"}"', '["canary"]']
)
def test_i19_a_secret_in_the_place_of_its_name_is_not_repeated(secret: str) -> None:
    """A secret written where its name belongs is reported as such, without its text."""
    (problem,) = refusal(WECHAT.replace('secret = "x"', f"secret = {secret}")).problems
    assert problem.code == "not_a_secret_name"
    assert "canary" not in repr(problem)


async def test_a_workspace_is_loaded_from_disk(tmp_path: Path) -> None:
    """Loading a workspace gives absolute paths inside it; a missing file is reported."""
    with pytest.raises(SettingsError) as caught:
        await load_settings(tmp_path)
    assert caught.value.problems[0].code == "file_missing"
    (tmp_path / "publisher.toml").write_text(WECHAT)
    found = await load_settings(tmp_path)
    assert found.workspace == tmp_path
    assert found.database == f"sqlite:///{tmp_path}/var/publisher.db"


def test_a_schedule_context_is_built_from_settings() -> None:
    """A schedule is read against the operator's accounts, groups and time zone."""
    context = make_schedule_context(read(FULL), templates={"warning"})
    assert (list(context.accounts), list(context.groups), context.timezone.key) == (
        ["beijing-weibo", "beijing-tieba"],
        ["north"],
        "Asia/Urumqi",
    )


QUOTA = RateLimit(min_interval=timedelta(seconds=30), per_hour=30, per_day=100)
SECONDS = st.none() | st.integers(1, 4000).map(
    lambda seconds: timedelta(seconds=seconds)
)


def test_without_limits_the_defaults_stay() -> None:
    """Without limits from the operator the defaults stay."""
    assert apply_overrides(QUOTA, Timing(), LimitEntry()) == (QUOTA, Timing())


def test_limits_replace_defaults_one_by_one() -> None:
    """Only a limit set by the operator replaces its default."""
    quota, timing = apply_overrides(
        QUOTA, Timing(), LimitEntry(per_hour=5, first_check_after=timedelta(seconds=1))
    )
    assert quota == RateLimit(
        min_interval=timedelta(seconds=30), per_hour=5, per_day=100
    )
    assert timing == Timing(first_check_after=timedelta(seconds=1))


@given(SECONDS, SECONDS)
def test_a_lease_is_derived_in_order(
    deadline: timedelta | None, window: timedelta | None
) -> None:
    """A lease fits between every deadline and visibility window that leave room for one."""
    _, timing = apply_overrides(
        QUOTA, Timing(), LimitEntry(request_timeout=deadline, visibility_window=window)
    )
    assert timing.has_valid_order is (timing.request_timeout < timing.visibility_window)


def test_the_schema_explains_every_key() -> None:
    """Editors show the meaning of each setting in Chinese."""
    schema = settings_schema()
    tables = [
        schema,
        *(
            schema["$defs"][name]
            for name in ("AccountEntry", "LimitEntry", "DashboardEntry")
        ),
    ]
    described = [key for table in tables for key in table["properties"].values()]
    assert all(any(letter > "一" for letter in key["description"]) for key in described)


def test_the_schema_writes_defaults_as_the_file_does() -> None:
    """An editor that inserts a default inserts one that the file may have, such as "15m"."""
    alerts = settings_schema()["$defs"]["AlertsEntry"]["properties"]
    assert alerts["escalate_after"]["default"] == "15m"
    assert alerts["repeat_every"]["default"] == "4h"


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        *(
            (name, "Asia/Shanghai")
            for name in (
                "CST", "cst", "CST-8", "Asia/Beijing", "Asia/Peking", "China Standard Time",
                "China/Shanghai", "+08:00", "+0800", "+8", "UTC+8", "UTC+08:00", "GMT+8",
                "北京时间", "东八区", "中国", "no zone at all",
            )
        ),
        ("Asia/Tokio", "Asia/Tokyo"),
        ("Europe/Berlim", "Europe/Berlin"),
    ],
)  # fmt: skip
def test_other_names_of_beijings_time_suggest_its_zone(
    name: str, suggested: str
) -> None:
    """Abbreviations, offsets and Chinese words lead to Asia/Shanghai, slips to their own zone."""
    assert suggest_timezone(name) == suggested


@pytest.mark.parametrize(
    ("limits", "environment", "codes"),
    [
        (
            'request_timeout = "5s"\nvisibility_window = "30s"',
            Environment.LIVE,
            ["visibility_window_too_short"],
        ),
        ('request_timeout = "5s"\nvisibility_window = "30s"', Environment.DRILL, []),
        ('visibility_window = "420s"', Environment.LIVE, []),
        (
            'visibility_window = "419s"',
            Environment.LIVE,
            ["visibility_window_too_short"],
        ),
        (
            'platform_clock_tolerance = "11s"',
            Environment.LIVE,
            ["platform_clock_tolerance_too_short"],
        ),
        ('platform_clock_tolerance = "12s"', Environment.LIVE, []),
        ('platform_clock_tolerance = "1s"', Environment.DRILL, []),
    ],
)
def test_f25_waits_that_would_take_a_post_for_an_absent_one_are_reported(
    limits, environment, codes
) -> None:
    """F25, F60, F61: waits that would take a post for an absent one are reported.

    The window must cover the platform's delays, and the tolerance must cover the error of a right
    clock.
    """
    policies = build_policies(read(f"[limits.weibo]\n{limits}\n{WEIBO}"))
    assert [
        problem.code for problem in find_unsafe_timings(policies.values(), environment)
    ] == codes


def test_waits_out_of_order_are_refused() -> None:
    """A call that may outlast its lease could be overtaken by another worker's."""
    with pytest.raises(SettingsError) as caught:
        build_policies(read(f'[limits.weibo]\nvisibility_window = "10s"\n{WEIBO}'))
    assert [problem.code for problem in caught.value.problems] == [
        "timings_out_of_order"
    ]
