"""A run that was killed and resumed ends bit for bit as one that was never killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("kill_trials.py")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the trials fork")


def trials(*arguments: str) -> dict:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    result = trials("random", str(tmp_path), "20")
    assert result["wrong"] == []
    assert result["trials"] == 20
    assert result["killed"] >= 20, "most of the kills must hit a run that is not finished"
    assert result["rows"] >= 5


def test_killed_before_and_in_the_middle_of_every_write(tmp_path: Path) -> None:
    result = trials("points", str(tmp_path))
    assert result["wrong"] == []
    assert result["killed"] == result["trials"] >= 60


def test_a_system_call_that_fails_is_a_message(tmp_path: Path) -> None:
    result = trials("failures", str(tmp_path), "5")
    assert result["wrong"] == []
    assert result["killed"] >= 4, "most failures must end the training"
