"""The helpers that build messages."""

import pytest

from elman.errors import BrokenRun, MissingExtraError, extra, unknown_name


def test_a_missing_library_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingExtraError) as caught, extra("sound", "reading sound"):
        import no_such_library  # noqa: F401
    assert str(caught.value).splitlines() == [
        "reading sound needs the extra 'sound'",
        "  should be: an installed no_such_library",
        "  is:        No module named 'no_such_library'",
        "  try:       pip install 'elman[sound]', or in a clone: pip install '.[sound]'",
    ]


def test_few_names_are_all_told_the_near_ones_first() -> None:
    assert str(unknown_name("cell", "lstn", ["rnn", "gru", "lstm"])).splitlines() == [
        "unknown cell 'lstn'",
        "  should be: one of lstm, gru, rnn",
        "  is:        'lstn'",
        "  try:       did you mean 'lstm'?",
    ]


def test_of_many_names_the_near_ones_are_told() -> None:
    known = [f"setting_{letter * 9}" for letter in "abcdefghijklmnopqrst"]
    lines = str(unknown_name("setting", "seting_bbbbbbbbb", known, listed="a list")).splitlines()
    assert lines[1].startswith("  should be: one of setting_bbbbbbbbb, ")
    assert lines[1].endswith(" others")
    assert len(lines[1]) < 80
    assert lines[3] == "  try:       did you mean 'setting_bbbbbbbbb'? a list"
    far = str(unknown_name("setting", "x", known, listed="a list")).splitlines()
    assert far[1].endswith(", or 8 others")
    assert far[3] == "  try:       a list"


def test_an_amended_error_is_of_the_same_class_and_keeps_what_is_not_replaced() -> None:
    error = BrokenRun("a file is broken", should="JSON", found="nothing")
    amended = error.amended("config.json is broken")
    assert type(amended) is BrokenRun
    assert str(amended).splitlines() == [
        "config.json is broken",
        "  should be: JSON",
        "  is:        nothing",
        "  try:       restore the run directory from a backup, or train again",
    ]
    assert error.amended(hint="another file").hint == "another file"
