"""Write docs/licences.md: the licences of the installed packages, and the libraries that their wheels bundle.

    python benchmarks/packages/licences.py

It reads the metadata of the environment that it runs in, of what the extra `all` needs and of what that needs in turn.
"""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
COPYLEFT = {"libx264": "GPL-2.0-or-later", "libx265": "GPL-2.0-or-later"}
"""Libraries under the GPL, which decides about the wheel that holds them."""

LIBRARY = re.compile(r"(lib.+?)(?:-[0-9a-f]{8}|_x86_64)?\.so[.0-9]*")
"""A shared library, with the name that auditwheel gives it."""

HEAD = """# Licences

elman is Apache-2.0 and ships none of the packages below; pip installs them. The table is written by
`benchmarks/packages/licences.py` from the metadata of an installed environment on Linux x86-64.

**The wheel of PyAV (`av`) bundles {gpl}, which are under the GPL.** PyAV itself is BSD. elman only decodes and never
calls them, yet whoever passes on an environment or an image that has this wheel passes on GPL software, with its
duties. It is installed by the extras `video`, `transcribe` and `all` alone. Without it:

- `pip install 'elman[caption,digits,images,plot,sound,translate]' 'jiwer>=3'` has everything but video, the sound of
  videos, .m4a, .aac and .wma, and sound files of unknown length.
- PyAV built against an FFmpeg without GPL parts: `pip install --no-binary av av`, with the development files of that
  FFmpeg installed.

| package | version | licence | bundled libraries |
| --- | --- | --- | --- |
"""


def needed(name: str, extras: frozenset[str], seen: dict[tuple[str, frozenset[str]], Distribution]) -> None:
    """Add the installed distributions that a package with extras needs, by name and extras."""
    key = canonicalize_name(name), extras
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return
    if key in seen:
        return
    seen[key] = package
    for requirement in map(Requirement, package.requires or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            needed(requirement.name, frozenset(requirement.extras), seen)


def licence(package: Distribution) -> str:
    """Return the licence of a package, by its expression, its classifiers or its field."""
    data = package.metadata
    classes = [value.split(" :: ")[-1] for value in data.get_all("Classifier") or [] if value.startswith("License ::")]
    field = (data.get("License") or "").strip().splitlines()
    return data.get("License-Expression") or ", ".join(classes) or (field[0][:60] if field else "not stated")


def bundled(package: Distribution) -> list[str]:
    """Return the names of the shared libraries in a package that are not its extension modules."""
    names = set()
    for file in package.files or []:
        match = LIBRARY.fullmatch(file.name)
        if match:
            names.add(match[1])
    return sorted(names)


def main() -> None:
    seen: dict[tuple[str, frozenset[str]], Distribution] = {}
    needed("elman", frozenset({"all"}), seen)
    packages = {name: package for (name, _), package in seen.items() if name != "elman"}
    rows, gpl = [], []
    for name, package in sorted(packages.items()):
        libraries = bundled(package)
        gpl += [library for library in libraries if library in COPYLEFT]
        shown = [f"**{library}** ({COPYLEFT[library]})" if library in COPYLEFT else library for library in libraries]
        rows.append(f"| {name} | {package.version.split('+')[0]} | {licence(package)} | {', '.join(shown)} |\n")
    (ROOT / "docs" / "licences.md").write_text(HEAD.format(gpl=" and ".join(gpl)) + "".join(rows))


if __name__ == "__main__":
    main()
