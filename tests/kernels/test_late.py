"""What is done when a module is imported."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from elman.kernels import late


def test_an_action_follows_the_first_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first_settings.py").write_text("value = 1")
    (tmp_path / "other_settings.py").write_text("import first_settings")
    monkeypatch.syspath_prepend(tmp_path)
    finders = list(sys.meta_path)
    monkeypatch.setattr(sys, "meta_path", list(finders))
    calls: list[tuple[str, int]] = []
    for name in ("first_settings", "other_settings", "first_settings"):
        late.when_imported(name, lambda module: calls.append((module.__name__, len(vars(module)))))
    try:
        module = importlib.import_module("other_settings")
        assert [name for name, _ in calls] == ["first_settings", "first_settings", "other_settings"]
        assert sys.meta_path == finders
        assert module.first_settings.value == 1
        late.when_imported("first_settings", lambda module: setattr(module, "value", 2))
        assert module.first_settings.value == 2
    finally:
        for name in ("first_settings", "other_settings"):
            sys.modules.pop(name, None)
