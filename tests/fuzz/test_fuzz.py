"""A short round of fuzzing: nothing that is damaged or malformed ends in a traceback, a hang or a crash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzz.py")


@pytest.mark.skipif(os.name != "posix", reason="mutants are pipes and links, and memory is measured")
def test_a_minute_of_fuzzing_finds_nothing() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), "--seconds", "60", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "attempts in" in done.stdout
