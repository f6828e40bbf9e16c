"""Count the files and lines of each room of a source tree, as a Markdown table.

python benchmarks/layout.py [src/elman]
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> None:
    """Print one row for each room, and their sum."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "src/elman")
    rooms: dict[str, list[int]] = {}
    for path in sorted(root.rglob("*.py")) + sorted(root.rglob("*.h")) + sorted(root.rglob("*.cpp")):
        place = path.relative_to(root).parts
        room = "(root)" if len(place) == 1 else place[0]
        room = f"{room}, C++" if path.suffix != ".py" else room
        rooms.setdefault(room, []).append(path.read_text(encoding="utf-8").count("\n"))
    print("| room | files | lines | longest file |\n| --- | ---: | ---: | ---: |")
    for room, lines in sorted(rooms.items()):
        print(f"| {room} | {len(lines)} | {sum(lines):,} | {max(lines)} |")
    python = [count for room, lines in rooms.items() if "C++" not in room for count in lines]
    print(f"| all Python | {len(python)} | {sum(python):,} | {max(python)} |")


if __name__ == "__main__":
    main()
