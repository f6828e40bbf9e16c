"""The pinned versions agree with each other, and every locked package has hashes."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("dev", "docs", "bench", "rl")

if not (ROOT / "requirements").is_dir():  # a copy of the tests alone
    pytest.skip("the lock files are not beside the tests", allow_module_level=True)


def pins(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^ \\\n;]+)", text, re.MULTILINE))


CONSTRAINTS = pins((ROOT / "constraints.txt").read_text())


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_the_versions_of_the_constraints_with_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    locked = pins(text)
    assert locked and {package: CONSTRAINTS.get(package) for package in locked} == locked
    for entry in re.split(r"\n(?=[a-z])", text)[1:]:
        assert re.fullmatch(r"[^\n]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n?)+", entry), entry[:80]


def test_every_requirement_is_pinned_and_locked_but_torch() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    lines = [*project["project"]["dependencies"], *(line for extra in extras.values() for line in extra)]
    names = {re.split(r"[^a-z0-9-]", line)[0] for line in lines} - {"elman"}
    assert names <= set(CONSTRAINTS)
    locked = {package for name in LOCKS for package in pins((ROOT / "requirements" / f"{name}.lock").read_text())}
    assert names - {"torch"} <= locked and "torch" not in locked
