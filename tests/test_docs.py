"""The documents: links lead somewhere, commands and settings exist, and the API reference has every public name."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import elman
from elman.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
GUIDE = sorted([*(DOCS / "guide").glob("*.md"), DOCS / "index.md", ROOT / "README.md"])
RECORDS = ("log.md", "results", "decisions")  # they keep the names of their time
ROOMS = ("elman", "elman.layers", "elman.inspection", "elman.testing")  # their __all__ is in the API reference

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub and Python-Markdown make it."""
    given = re.search(r"\{ *#(\S+) *\}", heading)
    if given:
        return given.group(1)
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower()))


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    listed = re.findall(r"[\w/-]+\.md", navigation)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each `elman ...` command in the code of a page, without pipes and comments."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for language, block in blocks if language in ("", "sh") for line in block.splitlines()]
    lines += [code for code in re.findall(r"`(elman [^`\n]+)`", text) if "..." not in code]
    for line in lines:
        if re.search(r"(^|\| )elman ", line):
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|>")
            words = [*lexer, "|"]
            while words:
                end = next(n for n, word in enumerate(words) if set(word) <= set("|>"))
                if words[:1] == ["elman"]:
                    yield words[1:end]
                words = words[end + 1 :]


@cache
def command_line() -> dict[str, Any]:
    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", GUIDE, ids=name_of)
def test_commands_and_their_options_exist(page: Path) -> None:
    for name, *words in commands(page):
        assert name in command_line(), name
        options = {option for parameter in command_line()[name].params for option in parameter.opts}
        for word in words:
            if word.startswith("--"):
                assert word in options, (name, word)
        if name == "train" and words[:1] and words[0] != "RECIPE" and not words[0].startswith("-"):
            assert words[0] in recipes(), words[0]


@cache
def recipes(*name: str) -> dict[str, Any]:
    """Return what `elman recipes` prints as JSON."""
    listed: dict[str, Any] = json.loads(CliRunner().invoke(app, ["recipes", *name, "--json"]).stdout)
    return listed


@cache
def settings_of(recipe: str, *kinds: str) -> set[str]:
    """Return the names of the settings of a recipe: of "settings", "predict" or "evaluate", or of all."""
    listed = recipes(recipe)[recipe]
    return {name for kind in kinds or ("settings", "predict", "evaluate") for name in listed.get(kind, ())}


def options_of_targets() -> set[str]:
    """Return the names of what `elman export --set` takes for any target."""
    from elman.exporters.export import TARGETS, find_target

    return {field.name for name in TARGETS for field in fields(find_target(name).Options)}


@pytest.mark.parametrize("page", GUIDE, ids=name_of)
def test_settings_exist(page: Path) -> None:
    recipe = {"media": "classify"}.get(page.stem, page.stem)
    known = settings_of(recipe) if recipe in recipes() else set().union(*map(settings_of, recipes()))
    known |= options_of_targets() if page.stem == "export" else set()
    text = page.read_text()
    named = re.findall(r"--set (\w+)=", text)
    if recipe in recipes():
        named += re.findall(r"`([a-z]\w*)=[^`]*`", text)
    assert {*named} - {"key"} <= known
    for command, *words in commands(page):
        given = {pair.partition("=")[0] for flag, pair in pairwise(words) if flag == "--set"} - {"key"}
        if command == "train" and words and words[0] in recipes():
            assert given <= settings_of(words[0], "settings"), words
        elif command == "predict":
            assert given <= known, words


def test_every_recipe_has_a_page() -> None:
    for recipe in recipes():
        assert (DOCS / "guide" / f"{recipe}.md").exists(), recipe


@pytest.mark.parametrize("room", ROOMS)
def test_the_api_reference_has_every_public_name(room: str) -> None:
    """A directive of the whole module shows all of `__all__`; else each name has a directive of its own."""
    directives = set(api_directives())
    if room in directives:
        return
    module = import_module(room)
    for name in module.__all__:
        value = getattr(module, name)
        home = f"{getattr(value, '__module__', room)}.{name}"
        assert {f"{room}.{name}", home, f"elman.{name}"} & directives or name in elman.__all__ or name == "LAYERS", name


def api_directives() -> list[str]:
    """Return what the API reference shows; `elman.ROOM.*` stands for all public modules of a room."""
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    names = []
    for name in re.findall(r"^::: (\S+)$", pages, re.MULTILINE):
        room = name.removesuffix(".*")
        modules = (ROOT / "src" / room.replace(".", "/")).glob("[!_]*.py") if name.endswith(".*") else ()
        names += [f"{room}.{module.stem}" for module in modules] or [name]
    return names


def test_the_api_reference_has_every_recipe_and_predictor() -> None:
    rooms = [path for room in ("recipes", "predictors") for path in (ROOT / "src" / "elman" / room).glob("[!_]*.py")]
    assert {f"elman.{path.parent.name}.{path.stem}" for path in rooms} <= set(api_directives())


def test_the_api_reference_names_modules_that_exist() -> None:
    for name in api_directives():
        import_module(name)


def test_the_guides_speak_of_no_old_names() -> None:
    """Words that the project replaced by standard ones stay out of the pages that are no record."""
    banned = ("left out", "left_out", "likeness", "gone on with", "commonest", "put right", "mend the", "judged")
    for page in PAGES:
        if any(part in RECORDS for part in page.parts):
            continue
        text = page.read_text().lower()
        assert not [word for word in banned if word in text], page


@pytest.mark.parametrize("page", GUIDE, ids=name_of)
def test_python_compiles_and_uses_public_names(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        compile(block, name_of(page), "exec")
        for name in re.findall(r"\belman\.(\w+)", block):
            assert hasattr(elman, name), name


def test_the_page_of_keys_has_every_metric() -> None:
    page = (DOCS / "guide" / "keys.md").read_text()
    for path in (ROOT / "src" / "elman" / "evaluation" / "metrics").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            for key in node.keys if isinstance(node, ast.Dict) else ():
                if isinstance(key, ast.Constant):
                    assert f"`{key.value}" in page, (path.name, key.value)
