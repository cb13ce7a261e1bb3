"""`backup` and `restore`: a copy of the database that is kept, and an older one in the present one's place."""

import asyncio
import sys
from pathlib import Path

import click

from publisher.cli.looking import ALIVE
from publisher.cli.shape import Said, WordedUsageError, by_option, command
from publisher.cli.terminal import Terminal, shown_path
from publisher.cli.trouble import FailedError
from publisher.cli.workplace import has_books, settings_of, world_of
from publisher.reviewing import person
from publisher.settings import Settings
from publisher.store.backup import Label, make_backup
from publisher.store.engine import sqlite_file
from publisher.wiring.books import journal_path
from publisher.wiring.restoring import Restoration, restore as put_back
