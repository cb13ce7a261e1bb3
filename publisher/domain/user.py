"""People with access to publisher: their roles, permissions and accounts. Pure."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from publisher.domain.account import Account, AccountId
from publisher.domain.delivery import Role

ALL_TARGET = "all"
"""The target that covers every account, including accounts that have left the settings."""


class UserRole(StrEnum):
    VIEWER = "viewer"
    AUTHOR = "author"
    APPROVER = "approver"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Permission(StrEnum):
    """A permission of a role. Persisted as the scope of tokens."""

    VIEW = "view"
    WRITE = "write"
    SEND = "send"
    APPROVE = "approve"
    STOP = "stop"
    RETRACT = "retract"
    ASSIST = "assist"
    OPERATE = "operate"
    CREDENTIALS = "credentials"
    AUDIT = "audit"
    EXPORT = "export"
    """To take the whole audit away: it has the words and names of all regions."""
    RECOVER = "recover"
    ADMINISTER = "administer"


ROLE_PERMISSIONS: Mapping[UserRole, frozenset[Permission]] = {
    UserRole.VIEWER: frozenset({Permission.VIEW}),
    UserRole.AUTHOR: frozenset({
        Permission.VIEW, Permission.WRITE, Permission.SEND, Permission.STOP, Permission.RETRACT,
        Permission.ASSIST,
    }),
    UserRole.APPROVER: frozenset({
        Permission.VIEW, Permission.APPROVE, Permission.STOP, Permission.RETRACT,
    }),
    UserRole.OPERATOR: frozenset({
        Permission.VIEW, Permission.SEND, Permission.STOP, Permission.RETRACT, Permission.ASSIST,
        Permission.OPERATE, Permission.CREDENTIALS, Permission.RECOVER,
    }),
    UserRole.AUDITOR: frozenset({Permission.VIEW, Permission.AUDIT, Permission.EXPORT}),
    UserRole.ADMIN: frozenset({
        Permission.VIEW, Permission.STOP, Permission.EXPORT, Permission.RECOVER,
        Permission.ADMINISTER,
    }),
}  # fmt: skip
"""The permissions of each role.

All roles that answer for posts may stop. An administrator of users can neither write, send nor
approve.
"""


PERSONAL_PERMISSIONS = frozenset(
    {Permission.APPROVE, Permission.AUDIT, Permission.RECOVER, Permission.ADMINISTER}
)
"""Permissions in live operation for a person alone, with password and code.

No token has them there.
"""


TRUSTED_ROLES = frozenset(UserRole) - {UserRole.VIEWER}
"""Roles that write, approve, operate, administer, or accept a loss of the audit."""


class SignInFactor(StrEnum):
    """A factor of a user's sign-in. Persisted in requests."""

    PASSWORD = "password"  # noqa: S105 # no secret
    SECOND_FACTOR = "second_factor"


class UserChangeKind(StrEnum):
    """An administrator's action on a user that may take a second administrator. Persisted."""

    ADD = "add"
    CHANGE = "change"
    RESET = "reset"


class UserState(StrEnum):
    """The state of a user.

    `SUSPENDED`: an older database was put in place, and nobody has confirmed yet that the user is
    still wanted.
    """

    ENABLED = "enabled"
    DISABLED = "disabled"
    SUSPENDED = "suspended"
    LEFT = "left"


class RefusalKind(StrEnum):
    """The refused item: a password, a code, a token, an action or an approval. Persisted."""

    PASSWORD = "password"  # noqa: S105 # no secret
    CODE = "code"
    TOKEN = "token"  # noqa: S105 # as above
    PERMISSION = "permission"
    APPROVAL = "approval"


class GrantSyntaxError(ValueError):
    """A text is no grant; `code` is the reason, for the message catalogue."""

    def __init__(self, code: str, value: str) -> None:
        super().__init__(code)
        self.code = code
        self.value = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role on some accounts.

    `targets` are names as in a post's `to`. An approver's grant may be for some stages.
    """

    role: UserRole
    targets: frozenset[str] = frozenset({ALL_TARGET})
    stages: frozenset[str] = frozenset()
    """The stages that an approver may approve; empty for every stage."""

    def __str__(self) -> str:
        """Return the grant as it is typed: `ROLE[:STAGE,…][@TARGET,…]`."""
        stages = f":{','.join(sorted(self.stages))}" if self.stages else ""
        targets = "" if self.is_for_all else f"@{','.join(sorted(self.targets))}"
        return f"{self.role}{stages}{targets}"

    @property
    def is_for_all(self) -> bool:
        return ALL_TARGET in self.targets

    def covers(
        self, account: AccountId, members: Mapping[str, Collection[AccountId]]
    ) -> bool:
        """Return True if the grant is valid on this account.

        `members` are the accounts behind names of targets.
        """
        return self.is_for_all or any(
            account == name or account in members.get(name, ()) for name in self.targets
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person with a sign-in. `has_password` is False until the first one-time link is used.

    `epoch` grows whenever all sign-ins of the user end. A sign-in that has begun before is then not
    completed after.
    """

    name: str
    grants: tuple[Grant, ...]
    state: UserState = UserState.ENABLED
    has_password: bool = False
    has_second_factor: bool = False
    awaits_second_factor: bool = False
    """True if the second factor was reset.

    Without a new one, set up with a one-time link, there is no sign-in.
    """
    epoch: int = 0

    @property
    def is_enabled(self) -> bool:
        return self.state is UserState.ENABLED

    @property
    def is_active_admin(self) -> bool:
        """True if the user can administer the workspace's users now."""
        return (
            self.is_enabled and self.has_password and may(self, Permission.ADMINISTER)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """A change of a user by an administrator: new grants, or a reset of a sign-in factor."""

    kind: UserChangeKind
    user: str
    grants: tuple[Grant, ...] = ()
    factors: frozenset[SignInFactor] = frozenset()

    def takes_second_admin(self, before: User | None) -> bool:
        """Return True if it lets an administrator pass for, or become, a trusted person.

        `before` is the user as it is, None for a new one. A name that somebody had before takes a
        second administrator too.
        """
        if self.kind is UserChangeKind.RESET:
            return before is not None and is_trusted(before.grants)
        if self.kind is UserChangeKind.ADD and before is not None:
            return True
        known = set() if before is None else set(before.grants)
        return is_trusted(set(self.grants) - known)

    def gives_first_trust(self, before: User | None) -> bool:
        """Return True if a user without a trusted role gets one.

        One administrator alone could set up or reset the sign-in that such a user has.
        """
        if self.kind is not UserChangeKind.CHANGE or before is None:
            return False
        return is_trusted(self.grants) and not is_trusted(before.grants)


def is_trusted(grants: Iterable[Grant]) -> bool:
    """Return True if one of the grants lets a person do more than look."""
    return any(grant.role in TRUSTED_ROLES for grant in grants)


MAX_NAME_CHARACTERS = 64
NAME_BREAKING_CHARACTERS = "/\\%?#"
"""Characters that no new user's name has.

The name stands in the addresses of pages, and in file names of exports.
"""


_NAME_OF_PROGRAM = re.compile(
    rf"{'|'.join(Role)}|system|系统|all|publisher|uid ?\d+|[\W_]+", re.IGNORECASE
)
"""Names in audit and alerts for publisher's own parts, users of the system, all, and nobody."""


def is_usable_name(name: str) -> bool:
    """Return True if a new user may have this name.

    It is printable, not too long, safe in an address, and a person's.
    """
    is_short = (
        0 < len(name) <= MAX_NAME_CHARACTERS
        and name == name.strip()
        and name.isprintable()
    )
    return (
        is_short
        and not set(name) & set(NAME_BREAKING_CHARACTERS)
        and not _NAME_OF_PROGRAM.fullmatch(name)
    )


def may(
    user: User,
    permission: Permission,
    accounts: Collection[AccountId] | None = None,
    members: Mapping[str, Collection[AccountId]] | None = None,
    stage: str | None = None,
) -> bool:
    """Return True if a user may do something on all of these accounts, or on the whole workspace.

    The workspace counts if no accounts are given. `members` are the accounts behind the names of
    targets, from `list_members`. `stage` is the stage of an approval. Each account may be covered
    by another grant of the user.
    """
    if not user.is_enabled:
        return False
    grants = [
        grant
        for grant in user.grants
        if permission in ROLE_PERMISSIONS[grant.role]
        and (stage is None or not grant.stages or stage in grant.stages)
    ]
    if not accounts:
        return any(grant.is_for_all for grant in grants)
    return all(
        any(grant.covers(account, members or {}) for grant in grants)
        for account in accounts
    )


def may_target(
    user: User,
    permission: Permission,
    names: Collection[str],
    members: Mapping[str, Collection[AccountId]],
) -> bool:
    """Return True if a user may do something for these names of recipients.

    It holds for all accounts that the names may come to stand for. `all`, a platform and a region
    grow by themselves, so that a grant must name them; of a group all members count.
    """
    if not user.is_enabled:
        return False
    grants = [
        grant for grant in user.grants if permission in ROLE_PERMISSIONS[grant.role]
    ]
    if any(grant.is_for_all for grant in grants):
        return True
    named = {target for grant in grants for target in grant.targets}
    others = set(names) - named
    if any(name == ALL_TARGET or ":" in name for name in others):
        return False
    accounts = {
        account for name in others for account in members.get(name, [AccountId(name)])
    }
    return not accounts or may(user, permission, accounts, members)


def may_somewhere(user: User, permission: Permission) -> bool:
    """Return True if a user may do something on some account, or on the whole workspace."""
    return user.is_enabled and any(
        permission in ROLE_PERMISSIONS[grant.role] for grant in user.grants
    )


def permissions_of(user: User) -> frozenset[Permission]:
    """Return all that a user may do on some account, or on the whole workspace."""
    return frozenset(
        permission for permission in Permission if may_somewhere(user, permission)
    )


def holds_role(
    user: User,
    role: str,
    accounts: Collection[AccountId],
    members: Mapping[str, Collection[AccountId]],
    stage: str | None = None,
) -> bool:
    """Return True if an enabled user has a role on all of these accounts.

    It must hold for a stage where the grant names stages.
    """
    grants = [grant for grant in user.grants if grant.role == role]
    if stage is not None:
        grants = [
            grant for grant in grants if not grant.stages or stage in grant.stages
        ]
    return user.is_enabled and all(
        any(grant.covers(account, members) for grant in grants) for account in accounts
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A signed-in user, with the sign-in's `method` and limits.

    A password is limited to nothing.
    """

    user: User
    method: str
    scope: frozenset[Permission] = frozenset(Permission)

    def may(
        self,
        permission: Permission,
        accounts: Collection[AccountId] | None = None,
        members: Mapping[str, Collection[AccountId]] | None = None,
        stage: str | None = None,
    ) -> bool:
        """Return True if both the user's grants and the scope of the sign-in allow it.

        See `may`.
        """
        return permission in self.scope and may(
            self.user, permission, accounts, members, stage
        )

    def may_target(
        self,
        permission: Permission,
        names: Collection[str],
        members: Mapping[str, Collection[AccountId]],
    ) -> bool:
        """Return True if both the user's grants and the sign-in's scope allow it.

        See `may_target`.
        """
        return permission in self.scope and may_target(
            self.user, permission, names, members
        )

    def may_somewhere(self, permission: Permission) -> bool:
        """Return True if both the user's grants and the sign-in's scope allow it somewhere.

        It must be allowed on some account.
        """
        return permission in self.scope and may_somewhere(self.user, permission)


def list_members(
    accounts: Iterable[Account], groups: Mapping[str, Collection[AccountId]]
) -> Mapping[str, frozenset[AccountId]]:
    """Return the accounts behind each name of a target: groups, `platform:P` and `region:R`."""
    members: dict[str, set[AccountId]] = {
        name: set(group) for name, group in groups.items()
    }
    for account in accounts:
        members.setdefault(f"platform:{account.platform}", set()).add(account.id)
        if account.region:
            members.setdefault(f"region:{account.region}", set()).add(account.id)
    return {name: frozenset(group) for name, group in members.items()}


def limit_grants(
    grants: Iterable[Grant],
    accounts: Collection[AccountId],
    members: Mapping[str, Collection[AccountId]],
) -> tuple[Grant, ...]:
    """Return the grants that are valid on some of these accounts, without their other targets."""
    limited = []
    for grant in grants:
        targets = frozenset(
            name
            for name in grant.targets
            if name == ALL_TARGET
            or name in accounts
            or not set(accounts).isdisjoint(members.get(name, ()))
        )
        if targets:
            limited.append(replace(grant, targets=targets))
    return tuple(limited)


def find_unknown_targets(
    grants: Iterable[Grant],
    accounts: Mapping[AccountId, Account],
    groups: Mapping[str, Collection[AccountId]],
) -> list[str]:
    """Return the targets that are neither an account nor a group, region or platform of one."""
    known = {ALL_TARGET, *accounts, *list_members(accounts.values(), groups)}
    return sorted({target for each in grants for target in each.targets} - known)


def parse_grant(text: str) -> Grant:
    """Parse `ROLE[:STAGE,…][@TARGET,…]`, such as `approver:初审@north,region:110000`.

    Raises GrantSyntaxError.
    """
    named, at, targets = text.partition("@")
    role, colon, stages = named.partition(":")
    if role not in set(UserRole):
        raise GrantSyntaxError("grant_role_unknown", role)
    parsed_stages, parsed_targets = _split_names(stages), _split_names(targets)
    if (colon and not parsed_stages) or (at and not parsed_targets):
        raise GrantSyntaxError("grant_incomplete", text)
    if parsed_stages and role != UserRole.APPROVER:
        raise GrantSyntaxError("grant_stage_without_approver", text)
    return Grant(
        role=UserRole(role),
        targets=parsed_targets or frozenset({ALL_TARGET}),
        stages=parsed_stages,
    )


def _split_names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())
