"""The offline part of the application: read, check and preview, without database or network."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from publisher.app.adapters import build_policies, load_factories
from publisher.config import SETTINGS_FILE, SETTINGS_READ_LIMITS, Environment, Settings
from publisher.domain.account import AccountId, AccountPolicy, Mode
from publisher.domain.errors import Problem, SettingsError, Severity
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import PostRenderer
from publisher.rendering.templates import load_templates, shipped_templates
from publisher.secrets import SecretError, Vault, read_secret
from publisher.tomlfile.read import read_toml
from publisher.tomlfile.validate import UnlocatedProblem, find_placeholders


def find_unfinished_settings(settings: Settings) -> list[Problem]:
    """Warn of what is left to fill in: hosts that are examples (in `live`), and secrets that cannot be read.

    Raises SettingsError if the file cannot be read again.
    """
    document = read_toml(settings.workspace / SETTINGS_FILE, SETTINGS_READ_LIMITS, SettingsError)
    found = list(find_placeholders(document.data)) if settings.environment is Environment.LIVE else []
    vault = Vault(folder=settings.workspace / "var")
    for number, account in enumerate(settings.accounts.values()):
        if account.mode is Mode.API:
            try:
                read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=vault)
            except SecretError as error:
                path = ("account", number, "secret")
                found.append(UnlocatedProblem(path=path, code=error.code, facts=error.facts))
    return [replace(problem, severity=Severity.WARNING) for problem in document.locate_problems(found)]


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
