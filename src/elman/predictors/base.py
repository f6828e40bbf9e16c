"""The contract of a predictor: a trained model that answers inputs. It does not measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, overload

from torch import nn

from elman.data.in_memory import RowFormat, as_frame, input_files, without_folder
from elman.errors import DataError, NonFiniteError
from elman.modules.recurrent_stack import frozen_weights
from elman.predictors.answer import Answer, no_answer
from elman.settings import Settings
from elman.storage.run_directory import RunDirectory


class Predictor(ABC):
    """What `elman.load` returns.

    Args:
        model: the model; a run that was opened has its best weights, on the CPU, in evaluation mode.
        run: the run directory.

    Attributes:
        Options: what `predict` may be told, by name.
        model: as given.
        run: as given.
        input_rows: what inputs in memory may be, without the columns of targets; None: texts and files alone.
        one_answer_per_row: whether each row of a DataFrame has an answer of its own.
    """

    Options: ClassVar[type[Settings]]
    input_rows: ClassVar[RowFormat | None] = None
    one_answer_per_row: ClassVar[bool] = True

    def __init__(self, model: nn.Module, run: Path) -> None:
        self.model, self.run = model, run

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.run}>"

    @cached_property
    def metrics(self) -> Mapping[str, float | None]:
        """The validation metrics of the best weights.

        Raises:
            RunError: there are no weights, or they are broken.
        """
        return RunDirectory(self.run, {}).best_metrics()

    @property
    def reads_text(self) -> bool:
        """Whether an input may be a text itself, which is then not the name of a file."""
        return False

    def is_endless(self, inputs: Sequence[str | Path]) -> bool:
        """Return whether the answers to inputs may never end, so that each is to be shown as it comes."""
        return False

    @overload
    def predict(self, inputs: str | Path | Sequence[Any] = (), **options: Any) -> Iterator[Answer]: ...

    @overload
    def predict(self, inputs: Any, **options: Any) -> Any: ...

    def predict(self, inputs: Any = (), **options: Any) -> Any:
        """Answer inputs.

        Args:
            inputs: a text, the name of a file, or "-" for standard input; a list of those; NumPy arrays, or tuples and
                dictionaries, one for each row; or a DataFrame or Series of pandas. Which of them depends on the recipe.
            options: the fields of `Options`; the values may be text. They are checked at once.

        Returns:
            An iterator of `Answer`, in order, as they are made; for a DataFrame or Series a DataFrame of their fields,
            on the same index where each row has an answer of its own; a row without one has an `error` alone.

        Raises:
            DataError: an input is broken, or of a type that cannot be read; what came before it is answered.
            NonFiniteError: the model gives numbers that are not finite.
            SettingError: an option has an unknown name or an invalid value.
        """
        options = dict(vars(self.Options.parse(options)))
        frame = as_frame(inputs)
        converted = frozen_weights().iterate(self._converted(inputs, options))
        if frame is None:
            return converted
        answers = list(converted)
        fields = [answer.fields if answer.answered else {"error": answer.fields["error"]} for answer in answers]
        aligned = self.one_answer_per_row and len(answers) == len(frame)
        return type(frame)(fields, index=frame.index if aligned else None)

    def _converted(self, inputs: Any, options: Mapping[str, Any]) -> Iterator[Answer]:
        with input_files(inputs, self.input_rows) as (files, folder):
            for answer in self._with_missing(files, options):
                if folder:
                    line, fields = without_folder([answer.line, answer.fields], folder)
                    answer = answer._replace(line=line, fields=fields)
                yield answer

    def _with_missing(self, inputs: Sequence[str | Path | None], options: Mapping[str, Any]) -> Iterator[Answer]:
        """Yield the answers, with an error in the place of each missing input."""
        present = [value for value in inputs if value is not None]
        if len(present) == len(inputs):
            yield from self.answers(present, **options)
            return
        answers = list(self.answers(present, **options)) if present else []
        rest, each = iter(answers), len(answers) == len(present)
        for number, value in enumerate(inputs):
            if value is None:
                yield no_answer(f"row {number}", DataError("the input is missing", found="an empty value"))
            elif each:
                yield next(rest)
        yield from rest

    @abstractmethod
    def answers(self, inputs: Sequence[str | Path], **options: Any) -> Iterator[Answer]:
        """Yield the answers to texts and files, for `predict`.

        Args:
            inputs: texts, the names of files, or "-" for standard input; which of them depends on the recipe.
            options: the fields of `Options`.

        Raises:
            DataError: an input is broken; what came before it is answered.
            NonFiniteError: the model gives numbers that are not finite.
            SettingError: an option has an unknown name or an invalid value.
        """


def non_finite_weights(run: Path, name: str) -> NonFiniteError:
    """Return the error for a model with a weight that is infinite or not a number."""
    return NonFiniteError(
        f"the model in {run} has weights that are not finite",
        should="finite weights",
        found=f"a number in {name} that is infinite or not a number",
        hint="train again, with a smaller learning rate",
    )


def non_finite_output(run: Path) -> NonFiniteError:
    """Return the error for a model whose output is infinite or not a number."""
    return NonFiniteError(
        f"the model in {run} gives numbers that are not finite",
        should="finite weights",
        found="an output that is infinite or not a number",
        hint="train again, with a smaller learning rate",
    )
