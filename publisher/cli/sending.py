"""`send` and `reload`: the schedule, sooner than by itself."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from publisher.cli.looking import snapshot_of
from publisher.cli.shape import Number, Said, WordedUsageError, by_option, command
from publisher.cli.terminal import Terminal
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import application_of, schedule_file, settings_of
from publisher.domain.errors import NoSuchError, ScheduleError
from publisher.domain.post import At, Post, PostId
from publisher.planning import file_ahead, reload, schedule_in_force, send_again, send_now
from publisher.planning import reload as put_in_force
from publisher.reviewing import person
from publisher.schedule import SCHEDULE_LIMITS, desk_for, parse_schedule
from publisher.tomlfile import TomlFile, read_toml
from publisher.wiring.application import Application

MOST_AT_ONCE = 100_000
