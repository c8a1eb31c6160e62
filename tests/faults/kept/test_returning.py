"""Answers that stay, whose clients leave and come back at random, behind nginx."""

import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.fakes.ollama import FakeOllama
from tests.integration.programs import gateway, nginx
from tests.load.returning.clients import SETTINGS
from tests.load.returning.trial import Trial
from tests.processes import wait_until


def test_each_is_read_once_and_in_full_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        FakeOllama().running() as fake,
        gateway(fake.url, tmp_path, **{**SETTINGS, "GATEWAY_LOG_LEVEL": "info"}) as (process, url),
        nginx(urlsplit(url).port or 0) as (_, edge),
    ):
        trial = Trial(fake, process, url, edge)
        trial.run(60, seed=int(time.time()))
        assert not trial.wrong
        wait_until(lambda: not trial.left_over(), 30, "everything is settled")
