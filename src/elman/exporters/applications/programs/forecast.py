"""Forecasts by a trained forecaster.

The model is in the folder of this program, which needs numpy and onnxruntime.
It continues each series of each CSV file from its end, with quantiles in the unit of the file, and writes a line of
JSON for each. Rows are in the order of their times, a row for each step; - reads standard input.

    python predict.py series.csv --horizon 12
"""

import argparse
import calendar
import csv
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import onnxruntime

EPOCH, MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
TIMES = {"time", "date", "datetime", "timestamp", "month", "year", "day", "ds"}
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}


class SeriesForecaster:
    """The graph of a folder, and what its manifest says about the series."""

    def __init__(self, folder):
        self.facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["series"]
        self.clock = self.facts["clock"]  # times as integers: months, microseconds since 1970, or as the file has them
        self.missing = MISSING | {cell.strip().lower() for cell in self.facts["missing_values"]}
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.graph = onnxruntime.InferenceSession(str(folder / "whole.onnx"), options, ["CPUExecutionProvider"])

    def tick(self, text):
        """Return the integer of a time."""
        if self.clock["kind"] == "number":
            return int(text)
        try:
            time = datetime.strptime(text, self.clock["form"])
        except ValueError:
            raise ValueError(f"a time should be written like {self.clock['form']}, is {text[:40]!r}") from None
        return 12 * time.year + time.month - 1 if self.clock["kind"] == "month" else (time - EPOCH) // MICROSECOND

    def text(self, tick):
        """Return an integer as a time."""
        if self.clock["kind"] == "number":
            return str(tick)
        if self.clock["kind"] == "time":
            return (EPOCH + tick * MICROSECOND).strftime(self.clock["form"])
        month = tick // 12, tick % 12 + 1
        time = datetime(*month, self.clock["day"] or calendar.monthrange(*month)[1])
        return (time + self.clock["rest"] * MICROSECOND).strftime(self.clock["form"])

    def read(self, file):
        """Return the first tick, the values (T, C) and the known columns (T + more, K) of each group of a CSV file."""
        first, facts = file.readline(), self.facts
        separator = max(",;\t|", key=first.count)
        header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])] or [""]
        times = facts["time_columns"] or [next((name for name in header if name.lower() in TIMES), header[0])]
        columns, group = [*facts["columns"], *facts["known"]], facts["series_column"]
        lacking = [name for name in [*times, *columns, *([group] if group else [])] if name not in header]
        if lacking:
            raise ValueError(f"should have the columns {', '.join(lacking)}, has {', '.join(header)}")
        groups = {}
        for row in csv.DictReader(file, header, delimiter=separator, restval=""):
            cells = [row[name].strip() for name in columns]
            numbers = [np.nan if cell.lower() in self.missing else float(cell) for cell in cells]
            time = row[times[0]].strip()
            if len(times) > 1:  # year, month, day, hour, minute, second
                parts = *(int(row[name]) for name in times), *(0, 1, 1, 0, 0, 0)[len(times) :]
                time = "{:04}-{:02}-{:02} {:02}:{:02}:{:02}".format(*parts)
            groups.setdefault(row[group].strip() if group else "", []).append((self.tick(time), numbers))
        if not groups:
            raise ValueError("should have a row for each time, has none")
        return {name: self.regular(rows) for name, rows in groups.items()}

    def regular(self, rows):
        """Return the rows of a group with one for each step, those that are absent as missing values."""
        ticks, C = np.array([tick for tick, _ in rows]), len(self.facts["columns"])
        steps, rest = np.divmod(ticks - ticks[0], self.clock["every"])
        if rest.any() or (np.diff(steps) < 1).any():
            raise ValueError("the rows should be in the order of their times, one for each step of the training data")
        if (np.diff(steps) > 1).any() and self.facts["gaps"] == "refuse":
            raise ValueError("there are times without a row, which the training data did not have")
        grid = np.full((steps[-1] + 1, len(rows[0][1])), np.nan)
        grid[steps] = [numbers for _, numbers in rows]
        complete = np.flatnonzero(~np.isnan(grid[:, :C]).all(1))
        length = complete[-1] + 1 if len(complete) and self.facts["known"] else len(grid)
        return int(ticks[0]), grid[:length, :C], grid[:, C:]

    def forecast(self, group, start, values, known, horizon):
        """Return the times (F) and the quantiles (F, C, Q) after the end of a group."""
        T, C, past = self.facts["lookback"], values.shape[1], values[-self.facts["lookback"] :]
        if group not in self.facts["groups"]:
            raise ValueError(f"should be one of the series {', '.join(self.facts['groups'])}, is {group!r}")
        if len(past) < T or np.isnan(past).all(0).any():
            raise ValueError(f"should have {T} rows at its end, not all of them missing, has {len(values)}")
        if known.shape[1] and (len(known) < len(values) + horizon or np.isnan(known).any()):
            raise ValueError(f"should know {', '.join(self.facts['known'])} for {horizon} rows behind the last value")
        steps = horizon if self.facts["recursive"] else self.facts["horizon"]
        if horizon > steps:
            raise ValueError(f"the horizon should be at most {steps} steps, is {horizon}")
        ticks = start + (len(values) + np.arange(-T, steps)) * self.clock["every"]
        waves = []
        for cycle in self.facts["cycles"]:
            place = (ticks % cycle["period"]) / cycle["period"] * (2 * np.pi)
            waves += [wave(k * place) for k in range(1, cycle["waves"] + 1) for wave in (np.sin, np.cos)]
        features = np.stack(waves, -1) if waves else np.zeros((len(ticks), 0))
        rows = np.minimum(np.arange(len(values) - T, len(values) + steps), len(known) - 1)
        feeds = {"x": past, "series": self.facts["groups"].index(group) * C + np.arange(C)}
        feeds["known"] = np.repeat(known[rows][:, None], C, 1)
        feeds["calendar"] = np.repeat(features[:, None], C, 1).astype(np.float32)
        y = self.graph.run(None, {each.name: feeds[each.name] for each in self.graph.get_inputs()})[0][:horizon]
        if not np.isfinite(y).all():
            raise ValueError("the forecast is not finite: a value may be too far from those of the training data")
        return [self.text(int(tick)) for tick in ticks[T : T + horizon]], y

    def answers(self, name, file, horizon=None):
        """Yield the answer to each series of a file."""
        for group, (start, values, known) in self.read(file).items():
            times, y = self.forecast(group, start, values, known, horizon or self.facts["horizon"])
            for c, column in enumerate(self.facts["columns"]):
                series = group if group and len(self.facts["columns"]) == 1 else f"{group} {column}".strip()
                lines = {level: y[:, c, q].tolist() for q, level in enumerate(self.facts["levels"])}
                yield {"input": name, "series": series, "times": times, "forecast": lines["0.5"], "quantiles": lines}


def main():
    """Answer the files, and return the exit code: 2 if one has no answer."""
    parser = argparse.ArgumentParser(description="Continue series from their end, with quantiles.")
    parser.add_argument("files", nargs="+", help="CSV files; - reads standard input")
    parser.add_argument("--horizon", type=int, help="steps to forecast; if omitted, as in training")
    arguments, code = parser.parse_args(), 0
    model = SeriesForecaster(Path(__file__).parent)
    for name in arguments.files:
        try:
            with open(0 if name == "-" else name, encoding="utf-8-sig", newline="") as file:
                for answer in model.answers(name, file, arguments.horizon):
                    print(json.dumps(answer), flush=True)
        except (ValueError, OSError) as error:
            print(json.dumps({"input": name, "error": str(error)}), flush=True)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
