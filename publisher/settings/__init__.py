"""What the operator decides: publisher.toml, read once and frozen."""

from publisher.settings.addresses import has_password, host_and_port, is_server
from publisher.settings.entries import settings_schema
from publisher.settings.loading import FILE, load_settings, overlay, parse_settings
from publisher.settings.model import Environment, LimitSettings, Settings
from publisher.settings.rules import BUILT_IN, WEIBO_PROFILES, why_not_api

__all__ = [
    "BUILT_IN",
    "FILE",
    "WEIBO_PROFILES",
    "Environment",
    "LimitSettings",
    "Settings",
    "has_password",
    "host_and_port",
    "is_server",
    "load_settings",
    "overlay",
    "parse_settings",
    "settings_schema",
    "why_not_api",
]
