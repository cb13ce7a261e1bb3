"""A fake later release with more migrations: today there is only one."""

import shutil
from pathlib import Path

import pytest

from publisher.store.recovery import setup

LATER = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "{number}", "{before}"
def upgrade():
    op.add_column("delivery", \
sa.Column("new_{number}", sa.String(), nullable=False, server_default="new"))
"""
NUMBERS = ("0002", "0003")
"""The migrations of a later release."""


def add_migrations(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give this release more migrations, in a folder of their own; return the folder."""
    shutil.copytree(setup.MIGRATIONS_FOLDER, folder)
    for before, number in zip(("0001", *NUMBERS), NUMBERS, strict=False):
        text = LATER.format(number=number, before=before)
        (folder / "versions" / f"{number}_later.py").write_text(text, "utf-8")
    monkeypatch.setattr(setup, "MIGRATIONS_FOLDER", folder)
    monkeypatch.setattr(setup, "NEWEST_MIGRATION", NUMBERS[-1])
    return folder
