"""Settings of a workspace for jobs that read no file of it."""

from zoneinfo import ZoneInfo

from publisher.config import Settings


def make_settings(folder, **more):
    """Return settings with a database in `var` of a folder."""
    return Settings(
        workspace=folder,
        timezone=ZoneInfo("Asia/Shanghai"),
        database=f"sqlite:///{folder}/var/publisher.db",
        **more,
    )
