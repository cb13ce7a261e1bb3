"""The alert channels of a workspace: their secrets, and a message to each."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module

from publisher.app.alert_addresses import (
    AlertMessage,
    Target,
    find_target_problem,
    list_secret_parts,
    parse_address,
)
from publisher.config import Settings
from publisher.domain.errors import Problem, Severity
from publisher.runtime.redaction import redact_text, register_secrets
from publisher.secrets import SecretError, open_vault, read_secret
from publisher.tomlfile.validate import UnlocatedProblem

URL_FIELD = "url"
"""The field of a channel's secret that holds its address."""
SEND_TIMEOUT_SECONDS = 10.0
"""After this a channel has not answered; its connection is cut."""
MAX_SAID_CHARACTERS = 120
"""How much of a channel's own words is shown."""


@dataclass(frozen=True, slots=True)
class AlertChannels:
    """The channels of a workspace. Each sends one message at a time."""

    settings: Settings

    async def send(
        self,
        channel: str,
        *,
        ids: Sequence[str],
        title: str,
        body: str,
        is_problem: bool = True,
    ) -> Problem | None:
        """Send a message; return the reason if it is not accepted, or None.

        Takes SEND_TIMEOUT_SECONDS at most. `ids` are the same when it is sent again; a receiver of
        JSON gets them.
        """
        message = AlertMessage(ids=ids, title=title, body=body, is_problem=is_problem)
        deadline = asyncio.timeout(SEND_TIMEOUT_SECONDS)
        try:
            url = await asyncio.to_thread(read_channel_url, self.settings, channel)
            # the first time takes a tenth of a second: not in the thread that sends posts
            await asyncio.to_thread(import_module, "publisher.app.alert_delivery")
            async with deadline:
                problem = await self._deliver(parse_address(url), message)
        except SecretError as error:
            return Problem(code=error.code, facts=error.facts)
        except Exception as error:  # noqa: BLE001 # whatever a library raises, the message was not accepted
            seconds, name = f"{SEND_TIMEOUT_SECONDS:.0f}", type(error).__name__
            if deadline.expired():
                return Problem(code="channel_timeout", facts={"seconds": seconds})
            return Problem(code="channel_unreachable", facts={"error": name})
        if problem is None:
            return None
        facts = {
            name: redact_text(fact)[:MAX_SAID_CHARACTERS]
            for name, fact in problem.facts.items()
        }
        return replace(problem, facts=facts)

    async def _deliver(
        self, target: Target | Problem, message: AlertMessage
    ) -> Problem | None:
        from publisher.app.alert_delivery import deliver  # noqa: PLC0415 # loaded before, in a thread

        if isinstance(target, Problem):
            return target
        return await deliver(target, message, self.settings)


def read_channel_url(settings: Settings, channel: str) -> str:
    """Return a channel's address; redact it from now on. Raises SecretError."""
    name = settings.alerts.channels[channel]
    fields = read_secret(
        name, secrets_dir=settings.secrets_dir, vault=open_vault(settings.workspace)
    )
    if URL_FIELD not in fields:
        raise SecretError("secret_without_url", name, (URL_FIELD,))
    url = fields[URL_FIELD].strip()
    register_secrets(list_secret_parts(url), holder=f"channel {channel}")
    return url


def find_channel_problems(settings: Settings) -> Sequence[Problem]:
    """Return the problems of the alert channels' secrets. One not yet readable is a warning."""
    problems = []
    for channel in settings.alerts.channels:
        severity = Severity.ERROR
        try:
            found = find_address_problem(read_channel_url(settings, channel), settings)
        except SecretError as error:
            severity, found = (
                Severity.WARNING,
                Problem(code=error.code, facts=error.facts),
            )
        if found is not None:
            path = ("alerts", "channels", channel)
            [located] = settings.locate_problems(
                [UnlocatedProblem(path=path, code=found.code, facts=found.facts)]
            )
            problems.append(replace(located, severity=severity))
    return problems


def find_address_problem(url: str, settings: Settings) -> Problem | None:
    """Return the problem of a channel's address, without any part of it except its scheme."""
    target = parse_address(url)
    if isinstance(target, Problem):
        return target
    return find_target_problem(target, [target.host], settings.environment)
