"""Programs of exports, run where neither torch nor elman can be imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "elman"):
            raise ImportError(f"{name} is blocked: the program must run without it")

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Run `predict.py` of a folder, and return the objects of its lines of JSON."""
    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(BLOCKED)
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}

    def run(folder: Path, *arguments: object, stdin: bytes = b"", code: int = 0, lines: bool = True) -> Any:
        command = [sys.executable, str(folder / "predict.py"), *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, env=environment, timeout=120, check=False)
        assert done.returncode == code, (done.stdout + done.stderr).decode()
        if code:
            return (done.stdout + done.stderr).decode()
        text = done.stdout.decode()
        return [json.loads(line) for line in text.splitlines()] if lines else text

    return run
