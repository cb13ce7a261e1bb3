"""The offline part of the application: read, check and preview, without database or network."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from publisher.app.adapters import (
    build_policies,
    find_adapter_problems,
    find_pages,
    get_hook,
    load_usable_factories,
)
from publisher.app.alert_channels import find_channel_problems, read_channel_url
from publisher.config import SETTINGS_FILE, SETTINGS_READ_LIMITS, Environment, Settings
from publisher.contract import AdapterFactory
from publisher.domain.account import (
    AccountId,
    AccountPolicy,
    LoadedFiles,
    Mode,
    Platform,
)
from publisher.domain.errors import Problem, SettingsError, Severity
from publisher.engine.certificates import read_certificates
from publisher.rendering.contact_list import CONTACTS_FILE
from publisher.rendering.process import RenderProcess
from publisher.rendering.renderer import PostRenderer
from publisher.rendering.templates import (
    list_template_files,
    load_templates,
    shipped_templates,
)
from publisher.secrets import (
    FIELDS_MISSING,
    SecretError,
    declare_public_fields,
    open_vault,
    read_secret,
)
from publisher.tomlfile.read import read_toml
from publisher.tomlfile.validate import UnlocatedProblem, find_placeholders

TEMPLATES_FOLDER = "templates"
USELESS_SECRET_CODES = frozenset({FIELDS_MISSING, "secret_not_json"})
"""Problems of a secret that is in place and cannot work. Others may be missing here only."""


def find_unfinished_settings(settings: Settings) -> list[Problem]:
    """Warn of unfinished settings: example hosts (in `live`), and secrets that cannot be read.

    A secret in place that cannot work is an error, and so is such an address of an alert channel.
    """
    data = settings.document.data if settings.document else {}
    found = (
        list(find_placeholders(data))
        if settings.environment is Environment.LIVE
        else []
    )
    for key in ("certificate", "key"):
        name = getattr(settings.dashboard, key)
        if name is not None and not os.access(settings.workspace / name, os.R_OK):
            facts = {"file": str(settings.workspace / name)}
            found.append(
                UnlocatedProblem(
                    path=("dashboard", key), code="dashboard_file_missing", facts=facts
                )
            )
    _declare_public_fields(
        settings, load_usable_factories(settings.accounts.values())[0]
    )
    found += find_secret_problems(settings)
    unfinished = [
        problem
        if problem.code in USELESS_SECRET_CODES
        else replace(problem, severity=Severity.WARNING)
        for problem in settings.locate_problems(found)
    ]
    return [
        *unfinished,
        *find_certificate_problems(settings, datetime.now(UTC)),
        *find_channel_problems(settings),
    ]


def find_certificate_problems(settings: Settings, now: datetime) -> Sequence[Problem]:
    """Return the certificates that have ended, as errors, and those that end soon, as warnings.

    A file without a certificate is an error.
    """
    problems = []
    for certificate in read_certificates(settings):
        facts = {"file": str(certificate.file)}
        severity = Severity.ERROR
        if certificate.ends_at is None:
            code = "certificate_unreadable"
        elif certificate.is_expired(now):
            code = "certificate_expired"
        elif certificate.is_expiring(now):
            code, severity = "certificate_ends_soon", Severity.WARNING
        else:
            continue
        if certificate.ends_at is not None:
            local = certificate.ends_at.astimezone(settings.timezone)
            facts["until"] = f"{local:%Y-%m-%d %H:%M:%S}"
        found = UnlocatedProblem(path=certificate.path, code=code, facts=facts)
        [located] = settings.locate_problems([found])
        problems.append(replace(located, severity=severity))
    return problems


def find_secret_problems(settings: Settings) -> Iterator[UnlocatedProblem]:
    """Yield the secrets of API accounts that cannot be read, or lack a field of their platform."""
    accounts, vault = settings.accounts.values(), open_vault(settings.workspace)
    factories = load_usable_factories(accounts)[0]
    for number, account in enumerate(accounts):
        if account.mode is not Mode.API:
            continue
        path = ("account", number, "secret")
        try:
            fields = read_secret(
                account.secret, secrets_dir=settings.secrets_dir, vault=vault
            )
        except SecretError as error:
            yield UnlocatedProblem(path=path, code=error.code, facts=error.facts)
            continue
        factory = factories.get(account.platform)
        needed = get_hook(factory, "secret_fields") if factory is not None else ()
        if missing := [name for name in needed if not fields.get(name)]:
            facts = {"name": account.secret, "missing": ", ".join(missing)}
            yield UnlocatedProblem(path=path, code=FIELDS_MISSING, facts=facts)


def _declare_public_fields(
    settings: Settings, factories: Mapping[Platform, AdapterFactory]
) -> None:
    """Leave the fields of a secret readable that all its users declare as public."""
    for name in {account.secret for account in settings.accounts.values()}:
        users = {
            account.platform
            for account in settings.accounts.values()
            if account.secret == name
        }
        fields = [
            frozenset(get_hook(factories[user], "public_fields"))
            if user in factories
            else frozenset[str]()
            for user in users
        ]
        declare_public_fields(name, frozenset.intersection(*fields))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineApp:
    """The parts needed to read, check and preview."""

    settings: Settings
    post_renderer: PostRenderer
    policies: Mapping[AccountId, AccountPolicy]
    warnings: Sequence[Problem] = ()
    """Advice of platforms against parts of their accounts' settings."""


def build_offline_app(settings: Settings, *, reads_secrets: bool = True) -> OfflineApp:
    """Build the offline application. With `reads_secrets`, no text that contains one passes.

    Raises SettingsError with every Problem. A template with an error is refused only where it is
    needed.
    """
    problems = find_adapter_problems(settings)
    if any(problem.is_error for problem in problems):
        raise SettingsError(problems)
    # the rest belongs to accounts that are off
    factories, _unusable = load_usable_factories(settings.accounts.values())
    if reads_secrets:
        _register_secrets(settings, factories)
    policies = build_policies(settings, factories)
    folders = [settings.workspace / TEMPLATES_FOLDER, shipped_templates()]
    post_renderer = PostRenderer(
        templates=load_templates(
            folders,
            RenderProcess(),
            find_pages(factories),
            settings.workspace / CONTACTS_FILE,
        ),
        timezone=settings.timezone,
        staff_folder=settings.staff_folder,
        accounts={
            key: account
            for key, account in settings.accounts.items()
            if account.mode is not Mode.OFF
        },
        factories=factories,
        regions=settings.regions,
    )
    return OfflineApp(
        settings=settings,
        post_renderer=post_renderer,
        policies=policies,
        warnings=problems,
    )


def _register_secrets(
    settings: Settings, factories: Mapping[Platform, AdapterFactory]
) -> None:
    """Read all secrets that can be read: no text with one of them passes, and no log shows it."""
    vault = open_vault(settings.workspace)
    _declare_public_fields(settings, factories)
    for name in {account.secret for account in settings.accounts.values()}:
        with contextlib.suppress(SecretError, OSError):
            read_secret(name, secrets_dir=settings.secrets_dir, vault=vault)
    for channel in settings.alerts.channels:
        with contextlib.suppress(SecretError, OSError):
            read_channel_url(settings, channel)


def describe_loaded_files(settings: Settings) -> LoadedFiles:
    """Return the loaded files of a process that starts now with these settings.

    It reads neither file again.
    """
    data = settings.document.data if settings.document else {}
    accounts = frozenset(settings.accounts)
    return LoadedFiles(
        settings=_hash_data(data),
        templates=_hash_templates(settings.workspace),
        accounts=accounts,
    )


def find_newer_files(workspace: Path, loaded: LoadedFiles) -> Mapping[str, datetime]:
    """Return the changes in SETTINGS_FILE and TEMPLATES_FOLDER since a process read them, and when.

    Comments and line ends of SETTINGS_FILE count for nothing; in a template each character does. A
    settings file that cannot be read has changed. A file that no template is made of counts for
    nothing.
    """
    changed: dict[str, datetime] = {}
    file, folder = workspace / SETTINGS_FILE, workspace / TEMPLATES_FOLDER
    try:
        present = _hash_data(read_toml(file, SETTINGS_READ_LIMITS, SettingsError).data)
    except SettingsError:
        present = ""
    if present != loaded.settings:
        changed[SETTINGS_FILE] = _modified_at([file])
    if _hash_templates(workspace) != loaded.templates:
        changed[TEMPLATES_FOLDER] = _modified_at(
            [folder, *folder.glob("*"), *list_template_files(folder)]
        )
    return changed


def _hash_data(data: Mapping[str, object]) -> str:
    return hashlib.sha256(
        json.dumps(data, sort_keys=True, default=str).encode()
    ).hexdigest()


def _hash_templates(workspace: Path) -> str:
    digest, folder = hashlib.sha256(), workspace / TEMPLATES_FOLDER
    for file in list_template_files(folder):
        with contextlib.suppress(
            OSError
        ):  # a file that cannot be read is in no template
            digest.update(
                f"{file.relative_to(folder)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
            )
    return digest.hexdigest()


def _modified_at(files: Sequence[Path]) -> datetime:
    """Return when the newest of these files was changed; the epoch if none is left."""
    times = [0.0]
    for file in files:
        with contextlib.suppress(OSError):
            times.append(file.stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC)
