"""What is done when a module of torch is imported: importing it only to change or register something takes too long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

Action = Callable[[ModuleType], object]


def when_imported(name: str, action: Action) -> None:
    """Call `action` with the module `name`: now if it is imported already, else right after its first import."""
    if name in sys.modules:
        action(sys.modules[name])
        return
    finders = (finder for finder in sys.meta_path if isinstance(finder, _Finder) and finder.name == name)
    finder = next(finders, None)
    if finder is None:
        finder = _Finder(name)
        sys.meta_path.insert(0, finder)
    finder.actions.append(action)


class _Finder(MetaPathFinder):
    """Finds one module, once, and no other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.actions: list[Action] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.actions)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader, actions: Sequence[Action]) -> None:
        self._loader, self._actions = loader, actions

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for action in self._actions:
            action(module)
