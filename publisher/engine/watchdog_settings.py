"""The settings that the watchdog needs to look and to send a report, kept from its last good look.

An error in publisher.toml must not silence it. The secrets themselves are not kept.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy.engine import make_url

from publisher.config import Environment, Settings
from publisher.domain.errors import SettingsError
from publisher.settings_file import AlertsEntry


def keep_settings(settings: Settings) -> None:
    """Keep the database's address, and the channels and rules of alerts. Raises OSError.

    An address with a password is not kept.
    """
    alerts = settings.document.data.get("alerts", {}) if settings.document else {}
    kept = {
        "environment": settings.environment.value,
        "timezone": settings.timezone.key,
        "database": "" if has_password(settings.database) else settings.database,
        "secrets_dir": str(settings.secrets_dir) if settings.secrets_dir else None,
        "alerts": alerts,
    }
    text, file = json.dumps(kept, ensure_ascii=False), settings_file(settings.workspace)
    with contextlib.suppress(OSError, ValueError):
        if file.read_text("utf-8") == text:
            return
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)


def load_kept_settings(workspace: Path) -> Settings | None:
    """Return settings with the kept address, channels and rules, but without accounts.

    The address is empty if none was kept. None if there are no settings, or they cannot be read.
    """
    workspace = workspace.absolute()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(settings_file(workspace).read_text("utf-8"))
        folder = kept["secrets_dir"]
        return Settings(
            workspace=workspace,
            timezone=ZoneInfo(kept["timezone"]),
            database=kept.get("database", ""),
            environment=Environment(kept["environment"]),
            secrets_dir=Path(folder) if folder else None,
            alerts=AlertsEntry.model_validate(kept["alerts"]),
        )
    return None


def has_password(address: str) -> bool:
    """Return True if a database's address has a password."""
    parsed = make_url(address)
    return parsed.password is not None or "password" in parsed.query


def settings_file(workspace: Path) -> Path:
    return workspace / "var" / "watchdog-settings.json"


def locate_error(error: SettingsError) -> Mapping[str, str]:
    """Return the place of the first problem and the number of all, without any value."""
    places = [problem.location for problem in error.problems if problem.location]
    place = f"{places[0].file}:{places[0].line}" if places else "publisher.toml"
    return {"place": place, "number": str(len(error.problems))}
