"""Count the files and lines of each room of a source tree, as a Markdown table, and the lines of code of all.

python benchmarks/layout.py [src/elman]
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from pathlib import Path

LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(text: str) -> int:
    """Return the number of lines of Python without blank lines, comments and strings that stand alone (docstrings)."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in LAYOUT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


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
    code = sum(code_lines(path.read_text(encoding="utf-8")) for path in root.rglob("*.py"))
    print(f"\n{code:,} lines of Python without blank lines, comments and docstrings")


if __name__ == "__main__":
    main()
