"""Translations by a trained translator.

The model is in the folder of this program, which needs numpy and onnxruntime, and for byte pairs tokenizers.
It writes a line of JSON for each line: of the command, of files, or with - of standard input.

    python predict.py "a line" file.txt
"""

import argparse
import json
import math
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

NEVER = np.float32(-1e30)


class Symbols:
    """The symbols of a language."""

    def __init__(self, folder, facts):
        self.kind, self.count, self.unknown = facts["kind"], facts["count"], facts["unknown"]
        self.begin, self.end = facts["never_written"]  # token ids that a text is read with, and never written
        if self.kind == "bpe":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(folder / facts["file"]))
        elif self.kind != "bytes":
            self.symbols = json.loads((folder / facts["file"]).read_text(encoding="utf-8"))["symbols"]
            self.ids = {symbol: number for number, symbol in enumerate(self.symbols)}

    def encode(self, text):
        """Return the token ids of a text; an unknown symbol has an id of its own."""
        if self.kind == "bytes":
            return list(text.encode("utf-8", "surrogateescape"))
        text.encode("utf-8")  # raises UnicodeError for what is no text
        if self.kind == "bpe":
            return self.tokenizer.encode(text).ids
        symbols = list(text) if self.kind == "characters" else text.replace("\n", " <eos> ").split()
        return [self.ids.get(symbol, self.unknown) for symbol in symbols]

    def decode(self, ids):
        """Return the text of token ids, on one line."""
        if self.kind in ("bytes", "bpe"):
            text = bytes(ids).decode("utf-8", "replace") if self.kind == "bytes" else self.tokenizer.decode(ids)
        else:
            words = self.kind == "words"
            text = "".join("\n" if words and self.symbols[n] == "<eos>" else " " * words + self.symbols[n] for n in ids)
            text = text.replace("\n ", "\n") if words else text
        return " ".join(text.splitlines()).strip()


class LineTranslator:
    """The graphs and vocabularies of a folder."""

    def __init__(self, folder):
        self.facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["translation"]
        self.source, self.target = (Symbols(folder, self.facts[side]) for side in ("source", "target"))
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        session = partial(onnxruntime.InferenceSession, sess_options=options, providers=["CPUExecutionProvider"])
        self.encoder, self.step = (session(str(folder / f"{name}.onnx")) for name in ("encoder", "step"))

    def translate(self, line, width=5, length_penalty=0.6):
        """Return the translation of a line, with its score."""
        if not line:
            return {"source": line, "translation": "", "n_best": []}
        source = np.array(self.source.encode(f" {line.lower() if self.facts['lowercase'] else line}"), np.int64)
        if len(source) > self.facts["max_symbols"]:
            raise ValueError(f"a line should have at most {self.facts['max_symbols']} symbols, has {len(source)}")
        limit = math.ceil(self.facts["ratio"] * len(source)) + self.facts["spare_symbols"]
        lengths = {"lengths": np.array([len(source)], np.int32)}
        values = self.encoder.run(None, {"x": source[:, None], **lengths})
        state = dict(zip((each.name for each in self.encoder.get_outputs()), values, strict=True))
        _, score, total, ids = self.search({**state, **lengths}, width, limit, length_penalty)[0]
        best = {"translation": self.target.decode(ids), "score": score, "log_probability": total}
        return {"source": line, "translation": best["translation"], "n_best": [best]}

    def search(self, state, K, limit, penalty):
        """Return (was cut, score, log-probability, token ids) of the best sequences, by beam search of width K."""
        axes = {name: 1 if name[:6] in ("lower_", "upper_") else 0 for name in state}
        state = {name: np.repeat(value, K, axes[name]) for name, value in state.items()}
        after = [each.name.removesuffix("_n") for each in self.step.get_outputs()]
        end, ids, written = self.target.count, np.full(K, self.target.count), [[] for _ in range(K)]
        totals, finished = np.array([0.0] + [NEVER] * (K - 1), np.float32), []
        for length in range(1, limit + 1):
            results = dict(zip(after, self.step.run(None, {"x": ids, **state}), strict=True))
            shifted = results["y"] - results["y"].max(1, keepdims=True)
            log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
            log_p[:, self.target.begin : self.target.end] = NEVER
            for row, number in self.repeating(written):
                log_p[row, number] = NEVER
            sums = totals[:, None] + log_p
            best = np.argsort(-sums, axis=None, kind="stable")[: 2 * K]
            best = [(float(sums.flat[place]), *divmod(int(place), end + 1)) for place in best]
            scale = ((5 + length) / 6) ** penalty
            finished += [(False, p / scale, p, written[row]) for p, row, n in best[:K] if n == end and p > NEVER / 2]
            totals, rows, ids = map(np.array, zip(*[each for each in best if each[2] != end][:K], strict=True))
            totals = np.maximum(totals.astype(np.float32), NEVER)
            written = [[*written[row], int(number)] for row, number in zip(rows, ids, strict=True)]
            state = {name: np.take(results.get(name, state[name]), rows, axes[name]) for name in state}
            alive = [(float(total), each) for total, each in zip(totals, written, strict=True) if total > NEVER / 2]
            finished += [(True, total / scale, total, each) for total, each in alive if length == limit]
            finished.sort(key=lambda each: (each[0], -each[1]))  # those that were cut come last
            bound = max((total for total, _ in alive), default=-math.inf) / ((5 + limit) / 6) ** penalty
            if not alive or (len(finished) >= K and finished[K - 1][1] >= bound):
                break
        return finished

    def repeating(self, written):
        """Yield the rows and symbols that would repeat a cycle more often than training does."""
        T = len(written[0])
        for row, ids in enumerate(written):
            for p, most in enumerate(self.facts["repetitions"], 1):
                if most + p <= T and ids[T - most :] == ids[T - most - p : T - p]:
                    yield row, ids[T - p]


def lines_of(name):
    """Yield the lines of a file or of standard input, or the text itself, without white space at their ends."""
    if name != "-" and not os.path.isfile(name):
        yield name.strip()
        return
    with open(0 if name == "-" else name, "rb") as file:
        for number, line in enumerate(file, 1):
            yield line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape").strip()


def main():
    """Translate the lines, and return the exit code: 2 if one has no answer."""
    parser = argparse.ArgumentParser(description="Translate lines.")
    parser.add_argument("lines", nargs="+", metavar="LINE", help="a line, or a file of lines; - reads standard input")
    parser.add_argument("--beam-width", type=int, default=5, help="1: greedy")
    arguments, model, code = parser.parse_args(), LineTranslator(Path(__file__).parent), 0
    for line in (line for name in arguments.lines for line in lines_of(name)):
        try:
            answer = model.translate(line, arguments.beam_width)
        except ValueError as error:
            answer, code = {"source": line, "translation": "", "n_best": [], "error": str(error)}, 2
        print(json.dumps(answer), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
