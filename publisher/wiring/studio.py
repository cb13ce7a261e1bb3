"""The light half: what reads, checks and previews. It opens no database and no connection."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from publisher.domain.account import AccountId
from publisher.domain.terms import Terms
from publisher.rendering import load_templates, shipped_templates
from publisher.rendering.press import Press
from publisher.rendering.process import RenderProcess
from publisher.settings import Settings
from publisher.vault import SecretError, Vault, read_secret
from publisher.wiring.terms import judges_of, speaking


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """What is needed to read, check and preview; it touches neither database nor network."""

    settings: Settings
    press: Press
    terms: Mapping[AccountId, Terms]


def build_studio(settings: Settings) -> Studio:
    """Build what reads, checks and previews.

    Raises SettingsError with every Problem. A template with a fault is refused where it is needed.
    """
    _know_secrets(settings)
    terms, adapters = judges_of(settings)
    press = Press(
        templates=load_templates([settings.workspace / "templates", shipped_templates()], RenderProcess()),
        timezone=settings.timezone,
        workspace=settings.workspace,
        accounts=speaking(settings),
        adapters=adapters,
        regions=settings.regions,
    )
    return Studio(settings=settings, press=press, terms=terms)


def _know_secrets(settings: Settings) -> None:
    """Learn what the accounts' secrets are, so that no text with one is let through; those not to be had are let be."""
    vault = Vault(folder=settings.workspace / "var")
    for name in {account.secret for account in settings.accounts.values()}:
        with contextlib.suppress(SecretError, OSError):
            read_secret(name, secrets_dir=settings.secrets_dir, vault=vault)
