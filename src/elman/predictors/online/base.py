"""The contract of an online predictor: one batched step of many sessions, each with its own state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor

from elman.errors import DataError, RunError
from elman.modules.recurrent_stack import frozen_weights
from elman.predictors.base import Predictor
from elman.predictors.online.state import SNAPSHOT, OnlineState, fingerprint, from_snapshot, to_snapshot


class OnlinePredictor(ABC):
    """A trained model that reads sessions, many at once. The numbers of one do not depend on the others, to the bit.

    Args:
        predictor: the model, ready to answer.

    Attributes:
        kind: of the sessions: text, events, series or sound.
        fields: the keys of the tree of a state.
        together: the number of sessions that read an input at a time.
        predictor: as given.
    """

    kind: ClassVar[str]
    fields: ClassVar[frozenset[str]]
    together: ClassVar[int] = 64

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.promise = frozen_weights()

    @classmethod
    def can_read(cls, predictor: Predictor) -> bool:
        """Return whether a model can be read step by step; one that needs the future cannot."""
        return True

    @cached_property
    def weights(self) -> str:
        """The fingerprint of the model, to which a state belongs."""
        return fingerprint(self.predictor.model, self.facts())

    def facts(self) -> Any:
        """Return what the numbers of a session depend on beside the weights."""
        return [self.kind]

    @abstractmethod
    def begin(self, options: Mapping[str, Any]) -> OnlineState:
        """Return the state of a new session.

        Raises:
            ElmanError: an option is invalid.
        """

    @abstractmethod
    def advance(self, states: Sequence[OnlineState], inputs: Sequence[Any]) -> list[Any]:
        """Read an input of each session, and return an output for each: what JSON has, or an ElmanError.

        A state changes in place, unless its output is an error.
        """

    @abstractmethod
    def check(self, tree: Any) -> bool:
        """Return whether a tree, which has the keys `fields`, is one of a state of this model."""

    def expected(self, state: OnlineState, top: int) -> dict[str, Any]:
        """Return what comes next by the model, as JSON has it; the state stays as it is.

        Raises:
            ElmanError: the model says nothing before an input.
        """
        raise DataError(
            "the model does not say what comes next", should="a model of text, events or series", found=self.kind
        )

    def dump(self, state: OnlineState) -> bytes:
        """Return a state as bytes."""
        return to_snapshot(state, self.kind, self.weights)

    def restore(self, content: bytes) -> OnlineState:
        """Return the state in bytes that `dump` returned.

        Raises:
            RunError: they are damaged, or belong to other weights.
        """
        state, header = from_snapshot(content)
        if header.weights != self.weights or header.kind != self.kind:
            raise RunError(
                f"{SNAPSHOT} belongs to another model",
                should=f"a state of the weights {self.weights[:12]}, kind {self.kind}",
                found=f"weights {header.weights[:12]}, kind {header.kind}",
                hint="restore it into the model that it was taken from",
            )
        try:
            fits = type(state.tree) is dict and state.tree.keys() == self.fields and self.check(state.tree)
        except (LookupError, TypeError, AttributeError, ValueError, RuntimeError):
            fits = False
        if not fits:
            raise RunError(f"{SNAPSHOT} does not fit the model", should="the state of a session", found="another tree")
        return state


def are_like(parts: Any, expected: Sequence[Tensor]) -> bool:
    """Return whether parts are tensors of the sizes and types of others."""
    if not isinstance(parts, tuple) or len(parts) != len(expected):
        return False
    return all(
        isinstance(part, Tensor) and (part.shape, part.dtype) == (other.shape, other.dtype)
        for part, other in zip(parts, expected, strict=True)
    )


def is_count(value: Any) -> bool:
    """Return whether a value is a number of things."""
    return type(value) is int and 0 <= value < 1 << 62
