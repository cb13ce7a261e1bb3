"""Recipients of a post: the choices that its form offers, and the targets of the present post."""

from collections.abc import Sequence
from dataclasses import dataclass

from publisher.domain.account import Mode, Platform
from publisher.domain.user import Permission
from publisher.engine.post_change import find_accounts
from publisher.store.db.filters import SCOPE_ALL
from publisher.web.kit.frame import read_frame_facts
from publisher.web.kit.site import Site, Visitor


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformRecipients:
    """How many accounts of a platform a post goes to.

    A person posts on some of them, and some are paused.
    """

    platform: Platform
    number: int
    by_hand: int
    paused: int


def list_recipients(
    site: Site, visitor: Visitor
) -> Sequence[tuple[str, Sequence[tuple[str, str, int]]]]:
    """Return the possible recipients by kind of name: name, label, and number of accounts."""
    settings, messages = site.settings, visitor.messages
    active = {
        key
        for key, account in settings.accounts.items()
        if account.mode is not Mode.OFF
    }
    counts = {
        name: len(active & set(members)) for name, members in site.members.items()
    }
    platforms = sorted({account.platform for account in settings.accounts.values()})
    regions = {
        account.region: settings.regions.get(account.region or "", {})
        for account in settings.accounts.values()
    }
    return [
        (
            "platform",
            [
                (
                    f"platform:{name}",
                    messages.platform_name(name),
                    counts[f"platform:{name}"],
                )
                for name in platforms
            ],
        ),
        ("group", [(name, name, counts[name]) for name in settings.groups]),
        (
            "region",
            [
                (f"region:{code}", facts.get("name", code), counts[f"region:{code}"])
                for code, facts in regions.items()
                if code
            ],
        ),
        (
            "account",
            [
                (str(key), site.account_names[visitor.lang].name(key), 1)
                for key in settings.accounts
                if key in active
            ],
        ),
    ]


def list_own_recipients(
    site: Site, visitor: Visitor
) -> Sequence[tuple[str, Sequence[tuple[str, str, int]]]]:
    """Return the names that the visitor may write for, of all that a post can be sent to."""

    def may_target(name: str) -> bool:
        return visitor.principal.may_target(Permission.WRITE, [name], site.members)

    return [
        (kind, [item for item in items if may_target(item[0])])
        for kind, items in list_recipients(site, visitor)
    ]


async def count_recipients(
    visitor: Visitor, to: object
) -> Sequence[PlatformRecipients]:
    """Count a post's recipients among the accounts that the visitor may see, even if it is invalid.

    They are in the order of the accounts.
    """
    site = visitor.site
    chosen = find_accounts({"to": to}, site.application.planner.schedule_context)
    accounts = [
        site.settings.accounts[key]
        for key in chosen
        if visitor.may(Permission.VIEW, [key])
    ]
    facts = await read_frame_facts(site, visitor.audit_number)
    paused = {pause.scope for pause in facts.pauses}
    return [
        PlatformRecipients(
            platform=platform,
            number=len(
                those := [
                    account for account in accounts if account.platform == platform
                ]
            ),
            by_hand=sum(account.mode is Mode.ASSISTED for account in those),
            paused=sum(
                not paused.isdisjoint(
                    {SCOPE_ALL, f"platform:{platform}", f"account:{account.id}"}
                )
                for account in those
            ),
        )
        for platform in dict.fromkeys(account.platform for account in accounts)
    ]
