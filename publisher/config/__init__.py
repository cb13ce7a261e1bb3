"""The operator's settings: publisher.toml, read once and immutable."""

from publisher.config.addresses import has_password, is_postgres_url, split_host_port
from publisher.config.load import (
    BUILT_IN_PLATFORMS,
    SETTINGS_FILE,
    WEIBO_PROFILES,
    Environment,
    LimitSettings,
    Settings,
    apply_overrides,
    find_api_blocker,
    load_settings,
    parse_settings,
    settings_schema,
)

__all__ = [
    "BUILT_IN_PLATFORMS",
    "SETTINGS_FILE",
    "WEIBO_PROFILES",
    "Environment",
    "LimitSettings",
    "Settings",
    "apply_overrides",
    "find_api_blocker",
    "has_password",
    "is_postgres_url",
    "load_settings",
    "parse_settings",
    "settings_schema",
    "split_host_port",
]
