"""The offline part of the application: read, check and preview, without database or network."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from publisher.app.adapters import build_policies, load_factories
from publisher.config import Settings
from publisher.domain.account import AccountId, AccountPolicy, Mode
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import PostRenderer
from publisher.rendering.templates import load_templates, shipped_templates
from publisher.secrets import SecretError, Vault, read_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineApp:
    """What is needed to read, check and preview."""

    settings: Settings
    post_renderer: PostRenderer
    policies: Mapping[AccountId, AccountPolicy]


def build_offline_app(settings: Settings) -> OfflineApp:
    """Build the offline application. Register all secrets that can be read, so that no text with one passes.

    Raises SettingsError with every Problem. A template with an error is refused only where it is needed.
    """
    vault = Vault(folder=settings.workspace / "var")
    for name in {account.secret for account in settings.accounts.values()}:
        with contextlib.suppress(SecretError, OSError):
            read_secret(name, secrets_dir=settings.secrets_dir, vault=vault)
    factories = load_factories(settings.accounts.values())
    policies = build_policies(settings, factories)
    post_renderer = PostRenderer(
        templates=load_templates([settings.workspace / "templates", shipped_templates()], RenderProcess()),
        timezone=settings.timezone,
        workspace=settings.workspace,
        accounts={key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF},
        factories=factories,
        regions=settings.regions,
    )
    return OfflineApp(settings=settings, post_renderer=post_renderer, policies=policies)
