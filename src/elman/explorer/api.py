"""The learner's page from Python and for the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elman.errors import SettingError
from elman.explorer.document import ExplorerPage, document
from elman.explorer.example import example, network_data
from elman.explorer.recording import recorded
from elman.predictors.base import Predictor
from elman.recipes import use
from elman.reference.network import Network
from elman.storage.files import temporary_folder

TITLE = "How a recurrent network works"


def explore(
    subject: str | Path | Predictor | Network | None = None,
    x: Any = None,
    y: Any = None,
    *,
    data: Sequence[str | Path] = (),
    text: str | None = None,
    sequence: int = 0,
) -> ExplorerPage:
    """Return the learner's page: a network that runs in the browser, beside a lesson; a notebook shows it.

        >>> elman.explore().save("page.html")
        >>> elman.explore("runs/book", text="She said “no”.")

    Args:
        subject: a run directory or the predictor of one, of any recipe: a sequence of its data through the trained
            model is on the page too; a network of `elman.reference.network`, which the page begins with; None: the
            example of the lesson.
        x: the input of the network, (T, I).
        y: its targets, (T, V).
        data: files for the run; none: its own data.
        text: for a run of a language model, the text that it reads.
        sequence: which sequence of the first batch of the data, from 0.

    Raises:
        ElmanError: the run has no weights yet, is broken or came without its data, or the data cannot be read.
        SettingError: an argument that does not fit the subject, or a sequence that there is not.
    """
    if isinstance(subject, Network):
        if x is None or y is None:
            raise SettingError("the network has no sequence", should="x and y with a network", found="none of them")
        return document(TITLE, network_data(subject, x, y))
    if x is not None or y is not None:
        raise SettingError("x and y are for a network", should="data or text with a run", found="x or y")
    if subject is None:
        if data or text is not None or sequence:
            raise SettingError("there is no run", should="a run with data, text or sequence", found="none")
        return document(TITLE, example())
    predictor = subject if isinstance(subject, Predictor) else use.load(subject)
    with temporary_folder() as folder:
        sources = [Path(name) for name in data] if text is None else [_typed(predictor, text, data, folder)]
        run = recorded(predictor.run, predictor, sources, sequence=sequence)
    return document(
        f"{Path(predictor.run).name}: how a recurrent network works", {**example(), "run": run, "view": "run"}
    )


def _typed(predictor: Predictor, text: str, data: Sequence[str | Path], folder: Path) -> Path:
    """Write a text to a file, for a run that reads texts.

    Raises:
        SettingError: the run reads no plain text, or the text is too short.
    """
    if data:
        raise SettingError("text and data are given", should="one of them", found="both", hint="omit --text")
    if not hasattr(predictor, "generate"):
        raise SettingError(
            f"--text is not for {predictor.run}",
            should="a run of a language model",
            found=type(predictor).__name__,
            hint="name a file of data behind the run",
        )
    if len(text) < 2:
        raise SettingError(
            "the text is too short", should="2 letters or more", found=repr(text), hint="a longer --text"
        )
    path = folder / "typed.txt"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path
