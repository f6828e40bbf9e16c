"""Without its library a module of `elman.integrations` names the extra that installs it."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from elman.errors import MissingExtraError


@pytest.mark.parametrize(
    ("module", "library"), [("sb3", "sb3_contrib.common.recurrent.policies"), ("torchrl", "tensordict")]
)
def test_the_error_names_the_extra(module: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"elman.integrations.rl.{module}"
    monkeypatch.setitem(sys.modules, library, None)  # what a missing module looks like to an import
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'elman\[rl\]'"):
        import_module(name)
    assert name not in sys.modules
