"""Standard output and standard error: nothing of an untrusted file controls a terminal, whatever the streams are."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from elman import cli
from elman.cli.console import PrintedConsole
from elman.cli.output import PrintedStream, print_json, printed_streams, warn, write_table, write_text
from elman.cli.progress import Progress
from elman.errors import ElmanError, printable, shell_word, valid_unicode

Elman = Callable[..., Any]

HOSTILE = "a\x1b]0;title\x07\x1b[2J\x9b1m\u202eb\u2066c\u200f\u061c\u2028\ud800"
SHOWN = "a\ufffd]0;title\ufffd\ufffd[2J\ufffd1m\ufffdb\ufffdc\ufffd\ufffd\ufffd\ufffd"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@contextmanager
def at_a_terminal() -> Iterator[Terminal]:
    stream = Terminal()
    with redirect_stdout(stream), redirect_stderr(stream):
        yield stream


def test_what_controls_or_misleads_is_replaced() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("a\tb\nc\r", allowed="") == "a\ufffdb\ufffdc\ufffd"
    for text in ("naïve 日本語 👩\u200d🔬", "می\u200cخواهم", ""):
        assert printable(text) == text, "what a language needs"


def test_names_of_files_become_valid_unicode() -> None:
    assert valid_unicode("Öl\udcff") == "Öl\ufffd"
    assert valid_unicode("\udcc3\udca4") == "ä", "a name in UTF-8 that Python read as ASCII"
    assert "\ufffd" in valid_unicode("a\ud800")


@pytest.mark.parametrize("name", ["plain", "my run", "it's", "\udcff'\x1b[2J\n", "Öl", "a\u202eb"])
def test_a_word_of_a_shell_is_printable_and_means_the_same(name: str) -> None:
    word = shell_word(name)
    assert printable(word, allowed="") == word
    shown = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True).stdout
    assert shown == os.fsencode(name)


def test_messages_are_printable() -> None:
    error = ElmanError(HOSTILE, should=HOSTILE, found=HOSTILE, hint=HOSTILE)
    assert str(error).count(SHOWN) == 4
    assert error.what == error.amended(found="x").what == SHOWN


@pytest.mark.parametrize(
    "say",
    [
        write_text,
        write_table,
        warn,
        lambda text: PrintedConsole().print(text),
        lambda text: PrintedConsole(stderr=True).print(text),
    ],
)
def test_every_way_to_a_terminal_is_filtered(say: Callable[[str], None]) -> None:
    with at_a_terminal() as terminal:
        say(HOSTILE)
    assert "title" in terminal.getvalue()
    assert not set(terminal.getvalue()) & set("\x1b\x07\x9b\u202e\u2066\u200f\ud800")


def test_progress_is_filtered() -> None:
    with at_a_terminal() as terminal, Progress(lambda metrics: "") as progress:
        progress.say(HOSTILE)
    assert "title" in terminal.getvalue()
    assert "\x1b]0" not in terminal.getvalue() and "\u202e" not in terminal.getvalue()


def test_a_pipe_gets_a_text_as_it_is_and_a_table_never(capfd: pytest.CaptureFixture) -> None:
    write_text("a\x1b[2J\n")
    write_table("a\x1b[2J\n")
    assert capfd.readouterr().out == "a\x1b[2J\na\ufffd[2J\n"


def test_json_is_escaped_and_stays_what_it_was() -> None:
    content = {"text": HOSTILE + "\x7f"}
    with at_a_terminal() as terminal:
        print_json(content)
    assert terminal.getvalue().isascii() and "\x7f" not in terminal.getvalue()
    assert json.loads(terminal.getvalue()) == content


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "classify", "--steps", HOSTILE],
        ["train", HOSTILE],
        ["recipes", HOSTILE],
        ["evaluate", HOSTILE],
        [f"--{HOSTILE}"],
        [HOSTILE],
        ["train", "classify", "--set", HOSTILE],
        ["train", "classify", "--set", f"cell={HOSTILE}"],
    ],
)
def test_a_hostile_argument_is_echoed_without_its_controls(arguments: list[str]) -> None:
    with at_a_terminal() as terminal:
        assert cli.run(arguments) == 2
    assert "error: " in terminal.getvalue()
    assert not any(part in terminal.getvalue() for part in ("\x1b]", "\x07", "\x9b", "\u202e", "\u2066"))


def test_a_hostile_config_is_quoted_without_its_controls(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": 99, "recipe": "x", "elman": "\x1b]0;title\x07"}))
    with at_a_terminal() as terminal:
        assert cli.run(["evaluate", str(tmp_path)]) == 2
    assert "by elman \ufffd]0;title\ufffd" in terminal.getvalue()


def test_help_keeps_its_colours() -> None:
    with at_a_terminal() as terminal:
        assert cli.run(["train", "--help"]) == 0
    assert "\ufffd" not in terminal.getvalue()


class Full(io.StringIO):
    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_or_missing_output_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for stream, message in ((None, "standard output is closed"), (Full(), "No space left on device")):
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.run(["recipes"]) == 2
        assert message in capsys.readouterr().err


def test_a_full_or_missing_error_stream_leaves_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for stream in (None, Full()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert cli.run(["evaluate", "nothing"]) == 2
        assert cli.run(["recipes"]) == 0


@pytest.mark.parametrize(
    ("redirect", "code"), [(">&-", 2), (">/dev/full", 2), ("2>&-", 0), ("2>/dev/full", 0), ("| head -1", 0)]
)
def test_streams_of_a_process(redirect: str, code: int) -> None:
    line = f"{sys.executable} -m elman recipes {redirect}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(code)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    assert ("standard output" in done.stderr) == (code == 2)


def test_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with printed_streams():
        assert isinstance(sys.stdout, PrintedStream)
    assert (sys.stdout, sys.stderr) == before


def test_numbers_that_json_does_not_have_are_an_error() -> None:
    for number in (float("nan"), float("inf")):
        with pytest.raises(ElmanError, match="numbers that are not finite"):
            print_json({"a": [number]})
