"""Sessions of a forecaster: an observation comes in, the updated forecast goes out, in constant time and memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from elman.data.series.dataset import Panel
from elman.errors import DataError, ElmanError, SettingError, unknown_name
from elman.predictors.base import Predictor
from elman.predictors.forecaster import ForecastPredictor
from elman.predictors.online.base import OnlinePredictor, are_like
from elman.predictors.online.state import OnlineState
from elman.storage.ragged import RaggedArrays


class OnlineSeries(OnlinePredictor):
    """A forecaster over sessions. The state is the window that it reads: the last values of each column.

    An input has `observations`, each with the values of the columns of one step, and perhaps `horizon`.
    """

    kind: ClassVar[str] = "series"
    fields: ClassVar[frozenset[str]] = frozenset({"group", "start", "values", "observed"})
    together: ClassVar[int] = 1  # forecasts are computed one by one, so that others get their turn between two
    predictor: ForecastPredictor

    @classmethod
    def can_read(cls, predictor: Predictor) -> bool:
        """Return whether a model needs nothing that is known ahead, which a session does not have."""
        return isinstance(predictor, ForecastPredictor) and not predictor.spec.known

    def facts(self) -> Any:
        """Return what the numbers depend on beside the weights."""
        spec = self.predictor.spec
        return [self.kind, spec.groups, spec.columns, spec.scaler.as_json(), spec.lookback, spec.clock.every]

    def begin(self, options: Mapping[str, Any]) -> OnlineState:
        """Return the state at the end of the run's own series.

        Args:
            options: `series`, the name of the group, where there are several.

        Raises:
            RunError: the run came without its series.
            SettingError: an option or a name is unknown.
        """
        for name in options:
            if name != "series":
                raise unknown_name("option", name, ["series"])
        panel = self.predictor.own_series()
        group = options.get("series", panel.groups[0] if len(panel.groups) == 1 else None)
        if group not in panel.groups:
            raise SettingError(
                "the series is not known",
                should=f"series, one of {', '.join(panel.groups)[:200]}",
                found=str(group)[:80],
            )
        number, lookback = panel.groups.index(group), self.predictor.spec.lookback
        values_TC = np.array(panel.values[number][-lookback:], np.float64)
        every = panel.clock.every
        start = panel.end(number) - len(values_TC) * every
        return OnlineState({"group": group, "start": int(start), **_stored(values_TC)}, 0)

    def check(self, tree: Any) -> bool:
        """Return whether a tree is one of a state of this model."""
        spec = self.predictor.spec
        length = len(tree["values"])
        like = (
            torch.empty(length, len(spec.columns), dtype=torch.float64),
            torch.empty(length, len(spec.columns), dtype=torch.bool),
        )
        fits = are_like((tree["values"], tree["observed"]), like) and length <= spec.lookback
        return fits and tree["group"] in spec.groups and type(tree["start"]) is int and abs(tree["start"]) < 1 << 60

    def advance(self, states: Sequence[OnlineState], inputs: Sequence[Any]) -> list[Any]:
        """Read the observations of each session, and return its forecast, as `elman predict --json` has it."""
        return [self._read(state, value) for state, value in zip(states, inputs, strict=True)]

    def expected(self, state: OnlineState, top: int) -> dict[str, Any]:
        """Return the forecast; the state stays as it is."""
        return self._forecast(state.tree, None)

    def _read(self, state: OnlineState, value: Any) -> Any:
        try:
            rows_NC = self._rows(value)
            tree = state.tree
            values_TC = np.concatenate([_values(tree), rows_NC])
            dropped = max(0, len(values_TC) - self.predictor.spec.lookback)
            start = tree["start"] + dropped * self.predictor.spec.clock.every
            changed = {"group": tree["group"], "start": start, **_stored(values_TC[dropped:])}
            forecast = self._forecast(changed, value.get("horizon"))
        except ElmanError as error:
            return error
        state.tree, state.position = changed, state.position + len(rows_NC)
        return forecast

    def _rows(self, value: Any) -> Any:
        columns = self.predictor.spec.columns
        rows = value.get("observations")
        if not isinstance(rows, list):
            example = f'{{"observations": [{{"{columns[0]}": 1.5}}]}}'
            raise DataError("a forecaster reads observations", should=example, found=", ".join(value)[:80] or "nothing")
        for row in rows:
            for name, number in row.items():
                if name not in columns:
                    raise unknown_name("column", name, columns, DataError)
                if isinstance(number, str) or (number is not None and not math.isfinite(number)):
                    raise DataError(
                        f"the value of {name} is no number", should="a number, or null where it is missing",
                        found=repr(number)[:80],
                    )  # fmt: skip
        cells = [[math.nan if row.get(name) is None else float(row[name]) for name in columns] for row in rows]
        return np.array(cells, np.float64).reshape(-1, len(columns))

    def _forecast(self, tree: Mapping[str, Any], horizon: int | None) -> dict[str, Any]:
        predictor, spec = self.predictor, self.predictor.spec
        horizon = horizon or spec.horizon
        if horizon > spec.horizon and not predictor.recursive:
            raise SettingError("the horizon is too long", should=f"at most {spec.horizon} steps", found=str(horizon))
        values_TC = _values(tree)
        panel = Panel(
            (tree["group"],), spec.columns, (), spec.clock, np.array([tree["start"]], np.int64),
            RaggedArrays.of([values_TC]), RaggedArrays.of([np.empty((len(values_TC), 0))]),
        )  # fmt: skip
        steps = horizon if predictor.recursive else spec.horizon
        windows = spec.beyond(panel, steps, "the session", needed=horizon)
        answers = [
            self.promise.call(predictor.answer, windows, n, "the session", name, horizon).fields
            for n, name in enumerate(panel.series)
        ]
        return {"forecasts": [{k: v for k, v in answer.items() if k != "input"} for answer in answers]}


def _stored(values_TC: Any) -> dict[str, Any]:
    """Return values as a state holds them: numbers, and which of them were observed."""
    return {
        "values": torch.from_numpy(np.nan_to_num(values_TC)),
        "observed": torch.from_numpy(~np.isnan(values_TC)),
    }


def _values(tree: Mapping[str, Any]) -> Any:
    values_TC = tree["values"].numpy().copy()
    values_TC[~tree["observed"].numpy()] = np.nan
    return values_TC
