"""The next items of sessions by a trained recommender.

The model is in the folder of this program, which needs numpy and onnxruntime.

    python predict.py ITEM ITEM ITEM --top-k 5

It writes a line of JSON for the session of these items. With - it reads events from standard input, a line of JSON
each, such as "shoe", or {"session": "ann", "item": "shoe"}, or {"session": "ann", "items": [...], "end": true}, and
answers each. The state of a session is of constant size: every event costs one step.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class NextItems:
    """The graph of one step and the items of a folder."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        content = json.loads((folder / "items.json").read_text(encoding="utf-8"))
        self.names, self.counts = content["items"], np.array(content["counts"], np.float64)
        self.numbers = {name: number for number, name in enumerate(self.names)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.step = onnxruntime.InferenceSession(str(folder / "step.onnx"), options, ["CPUExecutionProvider"])

    def session(self):
        """Return a session without events."""
        states = {name: np.array(rows, np.float32)[:, None] for name, rows in self.manifest["initial_states"].items()}
        return {"states": states, "scores": None, "seen": set(), "events": 0}

    def push(self, session, item):
        """Add an event, and return whether its item is known."""
        number = self.numbers.get(item)
        if number is None:
            return False
        scores, *after = self.step.run(None, {"x": np.array([number], np.int64), **session["states"]})
        session["states"], session["scores"] = dict(zip(session["states"], after, strict=True)), scores[0]
        session["seen"].add(number)
        session["events"] += 1
        return True

    def answer(self, session, unknown=(), top_k=10, exclude_seen=None):
        """Return the recommended items of a session, the best first; of one without events the most popular ones."""
        is_new = session["scores"] is None
        scores = np.log(self.counts / self.counts.sum()) if is_new else session["scores"].astype(np.float64)
        if self.manifest["exclude_seen"] if exclude_seen is None else exclude_seen:
            scores[list(session["seen"])] = -np.inf
            top_k = min(top_k, len(scores) - len(session["seen"]))
        values = scores
        if top_k and (self.manifest["probabilities"] or is_new):
            values = np.exp(scores - scores.max())
            values = values / values.sum()
        best = np.argsort(-scores, kind="stable")[:top_k]
        return {
            "items": [self.names[number] for number in best],
            "scores": [float(values[number]) for number in best],
            "events": session["events"],
            **({"unknown": list(unknown)} if unknown else {}),
            **({"of": "popularity"} if is_new else {}),
        }


def read_event(line):
    """Return the items of a line of JSON, the name of their session or None, and whether that ends."""
    content = json.loads(line)
    fields = content if isinstance(content, dict) else {"item": content}
    items, name = [fields["item"]] if "item" in fields else fields.get("items", []), fields.get("session")
    names = [*items, *([] if name is None else [name])]
    if not isinstance(items, list) or not all(type(each) in (str, int) for each in names):
        raise ValueError('should be an item as JSON, or {"session": "ann", "item": "shoe"}')
    if not fields.keys() <= {"item", "items", "session", "end"}:
        raise ValueError(f"should have session, item or items, and end, has {', '.join(fields)}")
    return [str(item) for item in items], None if name is None else str(name), fields.get("end") is True


def main():
    """Answer the session or the events, and return the exit code: 2 if a line is no event."""
    parser = argparse.ArgumentParser(description="Recommend the next items of sessions.")
    parser.add_argument("items", nargs="+", metavar="ITEM", help="items of a session; - reads events")
    parser.add_argument("--top-k", type=int, default=10, help="number of items")
    parser.add_argument("--exclude-seen", action=argparse.BooleanOptionalAction, help="if omitted, as in training")
    arguments = parser.parse_args()
    model, options = NextItems(Path(__file__).parent), (arguments.top_k, arguments.exclude_seen)
    session, named = model.session(), {}
    unknown = [item for item in arguments.items if item != "-" and not model.push(session, item)]
    if "-" not in arguments.items:
        print(json.dumps(model.answer(session, unknown, *options)))
        return 0
    for number, line in enumerate(sys.stdin.buffer, 1):
        if not line.strip():
            continue
        try:
            items, name, ends = read_event(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            print(f"line {number} of standard input is not an event: {error}", file=sys.stderr)
            return 2
        current = session if name is None else named.setdefault(name, model.session())
        unknown = [item for item in items if not model.push(current, item)]
        shown = {} if name is None else {"session": name}
        print(json.dumps({**shown, **model.answer(current, unknown, *options)}), flush=True)
        if ends and name is not None:
            del named[name]
    return 0


if __name__ == "__main__":
    sys.exit(main())
