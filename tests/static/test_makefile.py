"""The Makefile's commands, as make would run them."""

import subprocess

from tests.processes import ROOT


def test_the_name_of_a_key_is_passed_on_as_one_word() -> None:
    words = ["NAME=bad name", "EXPIRES=90 d"]
    done = subprocess.run(
        ["make", "--dry-run", "key-native", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "keys create 'bad name'" in done.stdout, done.stderr
    assert "--expires '90 d'" in done.stdout
