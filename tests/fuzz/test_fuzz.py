"""A short round of fuzzing: nothing that is damaged or malformed ends in a traceback, a hang or a crash."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("fuzz.py")


# A number of attempts, and no time, so that every machine tries the same mutants.
@pytest.mark.skipif(os.name != "posix", reason="mutants are pipes and links, and memory is measured")
@pytest.mark.parametrize(
    ("target", "attempts"), [("run_directories", 100), ("data_files", 500), ("engine_calls", 1500)]
)
def test_a_short_round_finds_nothing(target: str, attempts: int) -> None:
    command = [sys.executable, str(PROGRAM), "--target", target, "--attempts", str(attempts), "--seed", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--seconds", "400"], capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    count = re.search(r"([0-9,]+) attempts in", done.stdout)
    corpus = list(PROGRAM.parent.glob(f"corpus/{target}/*.json"))
    assert count and int(count[1].replace(",", "")) == attempts + len(corpus)
