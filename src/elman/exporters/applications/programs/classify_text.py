"""Classes of texts by a trained classifier.

The model is in the folder of this program, which needs numpy and onnxruntime, and for byte pairs tokenizers.

    python predict.py "a text" file.txt

It writes a line of JSON for each text. An input is a text, a file of texts, a line each (where the classes were folders
of files, a file is one text), or - for the lines of standard input.
"""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime

WORD = re.compile(r"\w+(?:['’]\w+)?|[^\w\s]")


class TextClassifier:
    """The graph, the vocabulary and the labels of a folder."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        self.target, self.classes = labels["target"], labels["classes"]
        self.kind, self.unknown = self.manifest["symbols"]["kind"], self.manifest["symbols"]["unknown"]
        if self.kind == "bpe":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif self.kind != "bytes":
            symbols = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))["symbols"]
            self.ids = {symbol: number for number, symbol in enumerate(symbols)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.graph = onnxruntime.InferenceSession(str(folder / "whole.onnx"), options, ["CPUExecutionProvider"])

    def encode(self, text):
        """Return the token ids of a text, (T,); words are in lower case, and punctuation is split from them."""
        if self.kind == "bytes":
            ids = list(text.encode("utf-8", "surrogateescape"))
        elif self.kind == "bpe":
            ids = self.tokenizer.encode(text).ids
        else:
            symbols = list(text) if self.kind == "characters" else WORD.findall(text.lower())
            ids = [self.ids.get(symbol, self.unknown) for symbol in symbols]
        if not ids:
            raise ValueError("the text has no symbols")
        return np.array(ids, np.int64)

    def answer(self, steps):
        """Return the answer to token ids, (T,)."""
        feeds = {"x": steps[:, None], "lengths": np.array([len(steps)], np.int32)}
        y = self.graph.run(None, feeds)[0]
        if self.target == "number":
            return {"number": float(y[0, 0])}
        if self.target == "tags":
            best = y[:, 0].argmax(1)
            return {"tags": [self.classes[n] for n in best], "probabilities": y[:, 0].max(1).tolist()}
        probabilities = dict(zip(self.classes, y[0].tolist(), strict=True))
        if self.target == "classes":
            return {"labels": [name for name, p in probabilities.items() if p > 0.5], "probabilities": probabilities}
        return {"label": self.classes[int(y[0].argmax())], "probabilities": probabilities}


def texts(name, reader, encoding):
    """Yield the name and the text of each example of an input."""
    path = Path(name)
    if name == "-":
        for number, line in enumerate(sys.stdin.buffer, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield f"line {number}", text
    elif os.path.isfile(name):  # False, too, for a text that is too long for a name
        if path.suffix.lower() not in (".txt", ".text", ".md"):
            raise ValueError(f"should be a text or a .txt file, is {path.suffix or 'a name without ending'}")
        whole = path.read_bytes().decode("utf-8-sig" if encoding == "utf-8" else encoding)
        if reader == "folders":
            yield name, whole
            return
        for number, line in enumerate(whole.split("\n"), 1):
            if line.strip():
                yield f"{path.name}:{number}", line.strip()
    elif path.suffix.lower() in (".txt", ".text", ".md") and not any(map(str.isspace, name)):
        raise ValueError("there is no such file; a text that looks like a name takes a blank before it")
    else:
        yield name[:60] or "the text", name


def main(inputs):
    """Answer the inputs, and return the exit code: 2 if one has no answer."""
    if not inputs:
        print(__doc__, file=sys.stderr)
        return 2
    model, code = TextClassifier(Path(__file__).parent), 0
    step = model.manifest["step"]
    for source in inputs:
        name = source[:60]
        try:
            for name, text in texts(source, step["reader"], step["encoding"]):
                print(json.dumps({"input": name, **model.answer(model.encode(text))}), flush=True)
        except (ValueError, OSError) as error:
            print(json.dumps({"input": name, "error": str(error)}), flush=True)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
