"""report.md: what strangers wrote is shown as it is."""

import pytest

from elman.training.run_report import escaped


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>", "<b", "&lt;", "[a](http://b)", "![a](b)", "*a*", "_a_", "__a__", "`a`", "a | b",
        "~~a~~", "$\\\\frac$", "a\n\n# b", "\x1b[2J", "\u202ea", "https://a.b", "\\\\*a*",
    ],
)  # fmt: skip
def test_no_markup_survives(text: str) -> None:
    shown = escaped(text)
    assert "\n" not in shown and "<" not in shown and "://" not in shown and "\x1b" not in shown
    bare = shown.replace("\\\\", "")
    for sign in "*`[]|~$":
        assert bare.count(sign) == bare.count("\\" + sign), sign


def test_what_is_no_markup_stays() -> None:
    for text in ("/data/a_b/c-d.csv", "up (30), down (30)", "accuracy 93.1%, 0.2 nats", "Öl + 1.5"):
        assert escaped(text) == text
