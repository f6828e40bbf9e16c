"""The import rules of the house: which room may import what. A new room or a new arrow is written down here first."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import elman

SOURCE = Path(elman.__file__).parent

GROUND = {"errors", "number_format", "shapes", "settings"}
"""Everyone may import these."""

BELOW_RECIPES = {"data", "evaluation", "models", "modules", "plots", "predictors", "storage", "training"}

OURS: dict[str, set[str]] = {
    "errors": set(),
    "number_format": set(),
    "shapes": set(),
    "settings": set(),
    "storage": set(),
    "reference": set(),
    "kernels": set(),
    "decoding": set(),
    "layers": {"kernels"},
    "data": {"storage"},
    "training": {"storage"},
    "modules": {"kernels", "layers"},
    "models": {"modules"},
    "evaluation": {"data", "decoding", "storage"},
    "plots": {"data"},
    "inspection": {"kernels", "layers"},
    "predictors": {"data", "decoding", "models", "modules", "plots", "storage"},
    "recipes": BELOW_RECIPES | {"decoding", "inspection", "layers"},
    "exporters": {"kernels", "layers", "models", "modules", "predictors", "recipes", "storage"},
    "integrations": {"layers"},
    "explorer": {"reference", "predictors", "inspection", "recipes", "storage"},
    "serving": {"exporters", "predictors", "recipes", "storage"},
    "cli": {"explorer", "exporters", "recipes", "inspection", "serving", "storage"},
    "testing": {"reference", "kernels", "layers", "recipes"},
    "__main__": {"cli"},
    "__init__": {"explorer", "exporters", "kernels", "layers", "recipes"},
}
THEIRS: dict[str, set[str]] = {
    "errors": set(),
    "number_format": set(),
    "shapes": set(),
    "settings": set(),
    "storage": {"numpy", "torch", "safetensors"},
    "reference": {"numpy"},
    "kernels": {"torch", "triton"},
    "decoding": {"torch", "numpy"},
    "layers": {"torch"},
    "data": {"numpy", "torch", "tokenizers", "babel", "sklearn", "scipy", "PIL", "soundfile", "av", "safetensors"},
    "training": {"torch"},
    "modules": {"torch"},
    "models": {"torch"},
    "evaluation": {"torch", "numpy", "sacrebleu", "jiwer", "scipy"},
    "plots": {"numpy", "matplotlib"},
    "inspection": {"torch", "matplotlib", "rich"},
    "predictors": {"torch", "numpy"},
    "recipes": {"torch", "numpy"},
    "exporters": {
        *("numpy", "onnx", "onnxruntime", "onnxscript", "torch"),
        *("tokenizers", "PIL", "soundfile", "scipy", "av"),  # of the programs of exported applications
    },
    "integrations": {"torch", "sb3_contrib", "torchrl", "tensordict"},
    "explorer": {"numpy", "torch"},
    "serving": {"fastapi", "httpx", "numpy", "pydantic", "prometheus_client", "redis", "starlette", "uvicorn"},
    "cli": {"typer", "rich"},
    "testing": {"torch"},
    "__main__": set(),
    "__init__": set(),
}

SHARED_DATA = {"text", "media"}
"""The sub-rooms of data that every task room may import; a task room never imports another."""

MOST_FILES = 20
"""Of several kinds in one room; more is a corridor, and is divided."""

SAME_KIND = {"layers", "reference"}
"""Rooms whose files are all of one kind, of which there may be any number."""

PARTICIPLES = {"said", "heard", "kept", "told", "judged", "seeing", "spoken", "captioned", "foreign", "likeness"}

FILES = sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.pyi")])


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].partition(".")[0]


def module_of(path: Path) -> str:
    parts = ["elman", *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}  # of a module with a stub the stub, where its imports are


def imports_of(path: Path) -> list[str]:
    """Return the modules that a file imports, those inside functions and under TYPE_CHECKING included."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            assert node.module is not None
            # `from elman.data import text` names a module where there is one of that name, and else a definition
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            is_module = [name in MODULES or node.module == "elman" for name in full]
            names += [name if known else node.module for name, known in zip(full, is_module, strict=True)]
    return names


def top(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_room_imports_what_it_may(path: Path) -> None:
    room = room_of(path)
    assert room in OURS, f"{room} is a new room: give it a line in the tables"
    for name in imports_of(path):
        if top(name) == "elman":
            target = name.split(".")[1]
            assert target in OURS[room] | GROUND | {room, "__version__"}, f"{room} may not import {name}"
        elif top(name) not in sys.stdlib_module_names:
            assert top(name) in THEIRS[room], f"{room} may not import {name}"


def test_no_task_room_of_data_imports_another() -> None:
    for path in (SOURCE / "data").rglob("*.py"):
        here = module_of(path).split(".")
        for name in imports_of(path):
            there = name.split(".")
            if there[:2] == ["elman", "data"] and len(there) > 3 and len(here) > 3:
                assert there[2] in SHARED_DATA | {here[2]}, f"{'.'.join(here)} imports {name}"


def test_only_the_gpu_engine_imports_triton() -> None:
    users = {path.relative_to(SOURCE).parent for path in FILES if "triton" in map(top, imports_of(path))}
    assert users == {Path("kernels/triton")}


def test_only_drawing_imports_matplotlib() -> None:
    users = {path.relative_to(SOURCE).parent for path in FILES if "matplotlib" in map(top, imports_of(path))}
    assert users == {Path("plots"), Path("inspection/rendering")}


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield the strongly connected components of more than one node (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(node: str) -> Iterator[list[str]]:
        number[node] = low[node] = len(number)
        stack.append(node)
        for target in sorted(graph.get(node, ())):
            if target not in number:
                yield from visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], number[target])
        if low[node] == number[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                yield component

    for node in sorted(graph):
        if node not in number:
            yield from visit(node)


def test_circles_are_seen() -> None:
    assert [sorted(c) for c in circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})] == [["a", "b", "c"]]
    assert list(circles({"a": {"b", "c"}, "b": {"c"}})) == []


def test_no_files_import_each_other() -> None:
    """Lazy imports and those under TYPE_CHECKING count; `kernels.cpu._engine`, the extension, is not a file of ours."""
    graph = {name: {target for target in imports_of(path) if target in MODULES} for name, path in MODULES.items()}
    assert list(circles(graph)) == []


def test_a_room_holds_one_kind_of_thing_or_rooms() -> None:
    for folder in {path.parent for path in FILES}:
        room = str(folder.relative_to(SOURCE))
        names = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(names) <= MOST_FILES or room in SAME_KIND, f"{room} has {len(names)} files"


def public_classes() -> Iterable[tuple[str, str]]:
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name, module_of(path)


def test_a_public_class_has_a_name_of_its_own() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for name, home in public_classes():
        homes[name].append(home)
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_files_are_named_by_nouns_of_the_field() -> None:
    names = {path.stem for path in FILES}
    assert not names & PARTICIPLES
    assert not names & {"utils", "common", "helpers", "core", "misc"}


@pytest.mark.parametrize("banned", ["pickle", "shelve", "marshal", "dill", "joblib", "cloudpickle"])
def test_nothing_can_run_code_from_a_file(banned: str) -> None:
    for path in FILES:
        assert banned not in map(top, imports_of(path)), f"{path} imports {banned}"
        assert not re.search(r"(?<!safetensors\.)torch\.(load|save)\(", path.read_text()), (
            f"{path} reads or writes pickles"
        )


@pytest.mark.parametrize("room", OURS)
def test_no_arrow_is_left_over(room: str) -> None:
    """What a room may import and does not is taken out of the tables, so that they say how the house is."""
    names = {name for path in FILES if room_of(path) == room for name in imports_of(path)}
    ours = {name.split(".")[1] for name in names if name.startswith("elman.")}
    assert OURS[room] <= ours, f"{room} does not import {sorted(OURS[room] - ours)}"
    theirs = {top(name) for name in names}
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


@pytest.mark.parametrize("room", sorted(OURS.keys() - {"__init__", "__main__"}))
def test_rooms_are_there_at_once(room: str) -> None:
    program = f"import elman; print(elman.{room}.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"elman.{room}"
    assert room in dir(elman)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = elman.nope
