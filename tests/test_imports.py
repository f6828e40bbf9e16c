"""The import rules of the house: which room may import what. A new room or a new arrow is written down here first."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import elman

SOURCE = Path(elman.__file__).parent

# Everyone may import errors and shapes. Rooms within a room are named with a dot; the longest name counts.
OURS: dict[str, set[str]] = {
    "errors": set(),
    "shapes": set(),
    "reference": set(),
    "kernels": set(),
    "layers": {"kernels"},
    "data": set(),
    "models": {"layers"},
    "decoding": set(),
    "training": {"data"},
    "evaluation": {"data"},
    "inspection": {"kernels", "layers"},
    "recipes": {"data", "models", "training", "decoding", "evaluation"},
    "cli": {"recipes", "inspection"},
    "testing": {"reference", "kernels", "layers"},
    "__main__": {"cli"},
    "__init__": {"kernels", "layers", "inspection", "recipes"},
}
THEIRS: dict[str, set[str]] = {
    "errors": set(),
    "shapes": set(),
    "reference": {"numpy"},
    "kernels": {"torch", "triton"},
    "layers": {"torch"},
    "data": {"numpy", "torch", "safetensors", "tokenizers", "babel", "sklearn", "scipy", "PIL", "soundfile", "av"},
    "models": {"torch"},
    "decoding": {"torch"},
    "training": {"torch", "safetensors"},
    "evaluation": {"torch", "numpy", "sacrebleu", "jiwer", "scipy", "matplotlib"},
    "inspection": {"torch", "matplotlib", "rich"},
    "recipes": {"torch", "numpy"},
    "cli": {"typer", "rich"},
    "testing": {"torch"},
    "__main__": set(),
    "__init__": set(),
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            # `from elman import data` names a room; in `from elman.data import x` the room stands in the module's name
            found += [f"elman.{a.name}" for a in node.names] if node.module == "elman" else [node.module]
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_what_it_may(path: Path) -> None:
    room = room_of(path)
    assert room in OURS, f"{room} is a new room: give it a line in the tables"
    for name in imports_of(path):
        top, *rest = name.split(".")
        if top == "elman":
            assert rest[0] in OURS[room] | {room, "errors", "shapes", "__version__"}, f"{room} may not import {name}"
        elif top not in sys.stdlib_module_names:
            assert top in THEIRS[room], f"{room} may not import {name}"


def test_only_the_gpu_engine_imports_triton() -> None:
    users = {path.relative_to(SOURCE).parent for path in SOURCE.rglob("*.py") if "triton" in map(top, imports_of(path))}
    assert users == {Path("kernels/triton")}


def top(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("banned", ["pickle", "shelve", "marshal", "dill", "joblib", "cloudpickle"])
def test_nothing_can_run_code_from_a_file(banned: str) -> None:
    for path in SOURCE.rglob("*.py"):
        assert banned not in {name.split(".")[0] for name in imports_of(path)}, f"{path} imports {banned}"
        assert not re.search(r"(?<!safetensors\.)torch\.(load|save)\(", path.read_text()), (
            f"{path} reads or writes pickles"
        )


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "core"])
def test_there_is_no_drawer_for_odds_and_ends(name: str) -> None:
    assert not list(SOURCE.rglob(f"{name}*"))


@pytest.mark.parametrize("room", OURS)
def test_no_arrow_is_left_over(room: str) -> None:
    """What a room may import and does not is taken out of the tables, so that they say how the house is."""
    names = {name for path in SOURCE.rglob("*.py") if room_of(path) == room for name in imports_of(path)}
    ours = {name.split(".")[1] for name in names if name.startswith("elman.")}
    assert OURS[room] <= ours, f"{room} does not import {sorted(OURS[room] - ours)}"
    theirs = {name.split(".")[0] for name in names}
    assert THEIRS[room] <= theirs, f"{room} does not import {sorted(THEIRS[room] - theirs)}"


def test_importing_loads_nothing() -> None:
    program = (
        "import sys; import elman; print(sorted({'torch', 'numpy', 'typer', 'rich', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_layers_load_no_optional_library() -> None:
    program = (
        "import sys; import elman; elman.LSTM; print(sorted("
        "{'typer', 'rich', 'tokenizers', 'safetensors', 'matplotlib', 'triton'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", elman.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(elman, name).__name__ == name
    assert name in dir(elman)


@pytest.mark.parametrize("room", ["inspection", "reference", "testing"])
def test_rooms_that_the_documents_name_are_there_at_once(room: str) -> None:
    program = f"import elman; print(elman.{room}.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"elman.{room}"
    assert room in dir(elman)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = elman.nope
