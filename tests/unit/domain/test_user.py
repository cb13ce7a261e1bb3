"""The permissions of a user, by account and by stage."""

import pytest

from publisher.domain.account import Account, AccountId, Platform, RegionCode
from publisher.domain.user import (
    ROLE_PERMISSIONS,
    Grant,
    GrantSyntaxError,
    Permission,
    Principal,
    User,
    UserRole,
    UserState,
    list_members,
    may,
    may_target,
    parse_grant,
)

ACCOUNTS = [
    Account(
        id=AccountId("bj-weibo"),
        platform=Platform("weibo"),
        identity="1",
        secret="a",
        region=RegionCode("110000"),
    ),
    Account(
        id=AccountId("bj-tieba"),
        platform=Platform("tieba"),
        identity="2",
        secret="b",
        region=RegionCode("110000"),
    ),
    Account(
        id=AccountId("tj-weibo"),
        platform=Platform("weibo"),
        identity="3",
        secret="c",
        region=RegionCode("120000"),
    ),
]
MEMBERS = list_members(ACCOUNTS, {"pair": ["bj-tieba", "tj-weibo"]})


def make_user(*grants, state=UserState.ENABLED):
    return User(
        name="zhang",
        grants=tuple(map(parse_grant, grants)),
        state=state,
        has_password=True,
    )


@pytest.mark.parametrize(
    ("grant", "names"),
    [
        (
            "author",
            {"all", "platform:weibo", "region:110000", "pair", "bj-weibo", "tj-weibo"},
        ),
        ("author@region:110000", {"region:110000", "bj-weibo"}),
        ("author@platform:weibo", {"platform:weibo", "bj-weibo", "tj-weibo"}),
        ("author@pair,bj-weibo", {"pair", "bj-weibo", "tj-weibo"}),
        ("author@bj-tieba,tj-weibo", {"pair", "tj-weibo"}),
        ("viewer", set()),
    ],
)
def test_a_name_that_grows_by_itself_takes_a_grant_of_it(grant, names):
    """An author of some accounts gets none that comes later under `all`, a platform or a region."""
    asked = ("all", "platform:weibo", "region:110000", "pair", "bj-weibo", "tj-weibo")
    user = make_user(grant)
    assert {
        name for name in asked if may_target(user, Permission.WRITE, [name], MEMBERS)
    } == names


@pytest.mark.parametrize(
    ("target", "covered"),
    [
        ("all", {"bj-weibo", "bj-tieba", "tj-weibo", "gone"}),
        ("bj-weibo", {"bj-weibo"}),
        ("gone", {"gone"}),
        ("pair", {"bj-tieba", "tj-weibo"}),
        ("region:110000", {"bj-weibo", "bj-tieba"}),
        ("platform:weibo", {"bj-weibo", "tj-weibo"}),
        ("bj-weibo,pair", {"bj-weibo", "bj-tieba", "tj-weibo"}),
        ("nothing", set()),
    ],
)
def test_a_grant_covers_the_accounts_that_its_targets_name(target, covered):
    """Accounts, groups, regions and platforms are named as in a post.

    Only `all` covers an account that has left.
    """
    user = make_user(f"operator@{target}")
    names = ["bj-weibo", "bj-tieba", "tj-weibo", "gone"]
    assert {
        name
        for name in names
        if may(user, Permission.OPERATE, [AccountId(name)], MEMBERS)
    } == covered


def test_every_account_concerned_must_be_covered():
    """A post on two accounts needs both, by one grant or by two.

    The whole workspace needs a grant for all.
    """
    both = [AccountId("bj-weibo"), AccountId("tj-weibo")]
    assert not may(make_user("operator@bj-weibo"), Permission.OPERATE, both, MEMBERS)
    assert may(
        make_user("operator@bj-weibo", "operator@tj-weibo"),
        Permission.OPERATE,
        both,
        MEMBERS,
    )
    assert not may(
        make_user("operator@bj-weibo", "author@tj-weibo"),
        Permission.OPERATE,
        both,
        MEMBERS,
    )
    assert not may(
        make_user("operator@bj-weibo,bj-tieba,tj-weibo"),
        Permission.OPERATE,
        None,
        MEMBERS,
    )
    assert not may(make_user("operator@bj-weibo"), Permission.OPERATE, [], MEMBERS)
    assert may(make_user("operator"), Permission.OPERATE)


def test_an_approver_approves_at_the_stages_that_are_granted():
    """A grant with stages is for these stages only, one without for every stage.

    The accounts limit both.
    """
    first, any_stage = make_user("approver:初审,复审@pair"), make_user("approver")
    account = [AccountId("tj-weibo")]
    assert may(first, Permission.APPROVE, account, MEMBERS, "初审")
    assert may(first, Permission.APPROVE, account, MEMBERS, "复审")
    assert not may(first, Permission.APPROVE, account, MEMBERS, "终审")
    assert not may(first, Permission.APPROVE, [AccountId("bj-weibo")], MEMBERS, "初审")
    assert may(any_stage, Permission.APPROVE, account, MEMBERS, "终审")


@pytest.mark.parametrize(
    "state", [UserState.DISABLED, UserState.SUSPENDED, UserState.LEFT]
)
def test_who_is_not_enabled_may_do_nothing(state):
    """A disabled, suspended or departed user may do nothing."""
    user = make_user(*(role.value for role in UserRole), state=state)
    assert [permission for permission in Permission if may(user, permission)] == []
    assert not user.is_active_admin


def test_the_scope_of_a_sign_in_limits_the_user():
    """A token allows only actions that both its scope and the user's grants allow."""
    scope = frozenset({Permission.SEND, Permission.ADMINISTER})
    principal = Principal(user=make_user("operator"), method="token 1", scope=scope)
    assert [permission for permission in Permission if principal.may(permission)] == [
        Permission.SEND
    ]


def test_no_role_both_administers_users_and_handles_posts():
    """A role that grants roles neither writes, sends nor approves.

    A role that writes cannot approve.
    """
    for role in UserRole:
        granted = ROLE_PERMISSIONS[role]
        assert not (
            Permission.ADMINISTER in granted
            and granted & {Permission.WRITE, Permission.SEND}
        )
        assert not (
            Permission.APPROVE in granted
            and granted & {Permission.WRITE, Permission.ADMINISTER}
        )
        assert Permission.VIEW in granted


@pytest.mark.parametrize(
    "text",
    ["viewer", "author@bj-weibo,region:110000", "approver:初审@north", "approver:a,b"],
)
def test_a_grant_is_written_as_it_is_typed(text):
    """Reading and writing a grant are inverse."""
    assert str(parse_grant(text)) == text


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("chief", "grant_role_unknown"),
        ("", "grant_role_unknown"),
        ("author@", "grant_incomplete"),
        ("author@,", "grant_incomplete"),
        ("approver:", "grant_incomplete"),
        ("author:初审", "grant_stage_without_approver"),
    ],
)
def test_what_is_no_grant_is_refused(text, code):
    """Unknown roles, empty parts and stages of a role other than approver have own codes."""
    with pytest.raises(GrantSyntaxError) as caught:
        parse_grant(text)
    assert caught.value.code == code


def test_only_an_unlimited_enabled_admin_with_a_password_counts_as_administrator():
    """An administrator with limited accounts, or before the first sign-in, does not count.

    Such a user cannot administer the workspace.
    """
    assert make_user("admin").is_active_admin
    assert not make_user("admin@bj-weibo").is_active_admin
    assert not User(name="li", grants=(Grant(role=UserRole.ADMIN),)).is_active_admin
