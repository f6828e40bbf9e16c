"""The helpers that build messages."""

import pytest

from elman.errors import MissingExtraError, extra


def test_a_missing_library_is_named_with_what_installs_it() -> None:
    with pytest.raises(MissingExtraError) as caught, extra("sound", "reading sound"):
        import no_such_library  # noqa: F401
    assert str(caught.value).splitlines() == [
        "reading sound needs the extra 'sound'",
        "  should be: an installed no_such_library",
        "  is:        No module named 'no_such_library'",
        "  try:       pip install 'elman[sound]'",
    ]
