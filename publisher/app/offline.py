"""The light half: what reads, checks and previews. It opens no database and no connection."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from publisher.app.adapters import active_accounts, build_policies_and_adapters
from publisher.config import Settings
from publisher.domain.account import AccountId
from publisher.domain.policy import AccountPolicy
from publisher.rendering import load_templates, shipped_templates
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import PostRenderer
from publisher.secrets import SecretError, Vault, read_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineApp:
    """What is needed to read, check and preview; it touches neither database nor network."""

    settings: Settings
    post_renderer: PostRenderer
    policies: Mapping[AccountId, AccountPolicy]


def build_offline_app(settings: Settings) -> OfflineApp:
    """Build what reads, checks and previews.

    Raises SettingsError with every Problem. A template with a fault is refused where it is needed.
    """
    _register_secrets(settings)
    policies, adapters = build_policies_and_adapters(settings)
    post_renderer = PostRenderer(
        templates=load_templates([settings.workspace / "templates", shipped_templates()], RenderProcess()),
        timezone=settings.timezone,
        workspace=settings.workspace,
        accounts=active_accounts(settings),
        adapters=adapters,
        regions=settings.regions,
    )
    return OfflineApp(settings=settings, post_renderer=post_renderer, policies=policies)


def _register_secrets(settings: Settings) -> None:
    """Learn what the accounts' secrets are, so that no text with one is let through; those not to be had are let be."""
    vault = Vault(folder=settings.workspace / "var")
    for name in {account.secret for account in settings.accounts.values()}:
        with contextlib.suppress(SecretError, OSError):
            read_secret(name, secrets_dir=settings.secrets_dir, vault=vault)
