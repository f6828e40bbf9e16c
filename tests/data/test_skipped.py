"""What is left out is counted, and the first of it told."""

from elman.data.skipped import MOST, SkippedRows


def test_all_of_a_few_and_some_of_many_are_told() -> None:
    found = SkippedRows()
    assert (found.count, found.lines()) == (0, [])
    lines = [f"line {n}" for n in range(MOST + 1500)]
    for n, line in enumerate(lines, 1):
        found.add(line)
        assert found.count == n
        assert n > MOST or found.lines() == lines[:n]
    assert found.lines() == [*lines[:MOST], "and 1,500 more"]
    found.clear()
    assert found == SkippedRows()
