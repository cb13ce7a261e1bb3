"""The offline part of the application: read, check and preview, without database or network."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from publisher.app.adapters import (
    build_policies,
    find_adapter_problems,
    find_pages,
    get_hook,
    load_usable_factories,
)
from publisher.app.alert_channels import find_channel_problems, read_channel_url
from publisher.config import Environment, Settings
from publisher.contract import AdapterFactory
from publisher.domain.account import AccountId, AccountPolicy, Mode, Platform
from publisher.domain.errors import Problem, SettingsError, Severity
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import PostRenderer
from publisher.rendering.templates import load_templates, shipped_templates
from publisher.secrets import SecretError, Vault, declare_public_fields, read_secret
from publisher.tomlfile.validate import UnlocatedProblem, find_placeholders


def find_unfinished_settings(settings: Settings) -> list[Problem]:
    """Warn of what is left to fill in: hosts that are examples (in `live`), and secrets that cannot be read.

    The address of an alert channel that cannot be used is an error.
    """
    data = settings.document.data if settings.document else {}
    found = list(find_placeholders(data)) if settings.environment is Environment.LIVE else []
    vault = Vault(folder=settings.workspace / "var")
    for key in ("certificate", "key"):
        name = getattr(settings.dashboard, key)
        if name is not None and not os.access(settings.workspace / name, os.R_OK):
            facts = {"file": str(settings.workspace / name)}
            found.append(UnlocatedProblem(path=("dashboard", key), code="dashboard_file_missing", facts=facts))
    _declare_public_fields(settings, load_usable_factories(settings.accounts.values())[0])
    for number, account in enumerate(settings.accounts.values()):
        if account.mode is Mode.API:
            try:
                read_secret(account.secret, secrets_dir=settings.secrets_dir, vault=vault)
            except SecretError as error:
                path = ("account", number, "secret")
                found.append(UnlocatedProblem(path=path, code=error.code, facts=error.facts))
    unfinished = [replace(problem, severity=Severity.WARNING) for problem in settings.locate_problems(found)]
    return [*unfinished, *find_channel_problems(settings)]


def _declare_public_fields(settings: Settings, factories: Mapping[Platform, AdapterFactory]) -> None:
    """Leave readable what every user of a secret declares as public in it."""
    for name in {account.secret for account in settings.accounts.values()}:
        users = {account.platform for account in settings.accounts.values() if account.secret == name}
        fields = [
            frozenset(get_hook(factories[user], "public_fields")) if user in factories else frozenset[str]()
            for user in users
        ]
        declare_public_fields(name, frozenset.intersection(*fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineApp:
    """What is needed to read, check and preview."""

    settings: Settings
    post_renderer: PostRenderer
    policies: Mapping[AccountId, AccountPolicy]
    warnings: Sequence[Problem] = ()
    """What platforms advise against in their accounts' settings."""


def build_offline_app(settings: Settings) -> OfflineApp:
    """Build the offline application. Register all secrets that can be read, so that no text with one passes.

    Raises SettingsError with every Problem. A template with an error is refused only where it is needed.
    """
    problems = find_adapter_problems(settings)
    if any(problem.is_error for problem in problems):
        raise SettingsError(problems)
    factories, _unusable = load_usable_factories(
        settings.accounts.values()
    )  # the rest belongs to accounts that are off
    vault = Vault(folder=settings.workspace / "var")
    _declare_public_fields(settings, factories)
    for name in {account.secret for account in settings.accounts.values()}:
        with contextlib.suppress(SecretError, OSError):
            read_secret(name, secrets_dir=settings.secrets_dir, vault=vault)
    for channel in settings.alerts.channels:
        with contextlib.suppress(SecretError, OSError):
            read_channel_url(settings, channel)
    policies = build_policies(settings, factories)
    folders = [settings.workspace / "templates", shipped_templates()]
    post_renderer = PostRenderer(
        templates=load_templates(folders, RenderProcess(), find_pages(factories)),
        timezone=settings.timezone,
        workspace=settings.workspace,
        accounts={key: account for key, account in settings.accounts.items() if account.mode is not Mode.OFF},
        factories=factories,
        regions=settings.regions,
    )
    return OfflineApp(settings=settings, post_renderer=post_renderer, policies=policies, warnings=problems)
