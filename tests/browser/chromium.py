"""Chromium as the distribution has it, driven by playwright, and the Node that playwright brings along."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "Chromium is missing: `apt install chromium`, or name one with CHROMIUM=, as in "
    "`make test-browser CHROMIUM=/opt/chrome/chrome`"
)


class ChromiumMissing(Exception):
    """Its message says what to do."""


def find_chromium() -> str:
    """Raises ChromiumMissing."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise ChromiumMissing(f"CHROMIUM={named} is not a program. {MISSING}" if named else MISSING)
    return found


def find_node() -> str:
    node, _ = compute_driver_executable()
    return str(node)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Its profile is in a temporary folder, which playwright removes."""
    # Chromium's sandbox does not work for root.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=options)
        try:
            yield browser
        finally:
            browser.close()
