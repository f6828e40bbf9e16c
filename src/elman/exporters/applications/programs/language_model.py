"""Text by a trained language model.

The model is in the folder of this program, which needs numpy and onnxruntime, and for byte pairs tokenizers.

    python predict.py "Once upon a time" --length 200

`--temperature 0`, the default, takes the most probable symbol each time; 1 draws by the probabilities of the model.
A prompt of - reads one prompt from each line of standard input and writes a line of JSON for each.
"""

import argparse
import codecs
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime


class TextGenerator:
    """The graphs and the vocabulary of a folder."""

    def __init__(self, folder):
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.kind, self.size = self.manifest["symbols"]["kind"], self.manifest["symbols"]["count"]
        if self.kind == "bpe":
            from tokenizers import Tokenizer

            self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        elif self.kind != "bytes":
            self.symbols = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))["symbols"]
            self.ids = {symbol: number for number, symbol in enumerate(self.symbols)}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # int8 weights become float32 here
        self.step = onnxruntime.InferenceSession(str(folder / "step.onnx"), options, ["CPUExecutionProvider"])

    def encode(self, text):
        """Return the token ids of a text; an unknown symbol has an id of its own."""
        if self.kind == "bytes":
            return list(text.encode("utf-8", "surrogateescape"))
        text.encode("utf-8")  # raises UnicodeError for what is no text
        if self.kind == "bpe":
            return self.tokenizer.encode(text).ids
        symbols = list(text) if self.kind == "characters" else text.replace("\n", " <eos> ").split()
        return [self.ids.get(symbol, self.manifest["symbols"]["unknown"]) for symbol in symbols]

    def decode(self, prompt, ids):
        """Return the text of token ids after those of a prompt."""
        prompt = [number for number in prompt if number < self.size]
        if self.kind == "words":
            text, inside_line = "", bool(prompt) and self.symbols[prompt[-1]] != "<eos>"
            for symbol in (self.symbols[number] for number in ids):
                text += "\n" if symbol == "<eos>" else " " * inside_line + symbol
                inside_line = symbol != "<eos>"
            return text
        if self.kind == "bytes":  # the prompt may end inside a character
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            decoder.decode(bytes(prompt))
            return decoder.decode(bytes(ids), True)
        if self.kind == "bpe":
            return self.tokenizer.decode(ids, skip_special_tokens=False)
        return "".join(self.symbols[number] for number in ids)

    def logits(self, number, states):
        """Return the logits of the next symbol, (V,), and the states after one more symbol."""
        feeds = {"x": np.array([number], np.int64), **states}
        logits, *after = self.step.run(None, feeds)
        return logits[0], dict(zip(states, after, strict=True))

    def generate(self, prompt, length=300, temperature=0.0, seed=None):
        """Return the text that continues a prompt."""
        rng = np.random.default_rng(seed)
        first = self.encode(prompt) or self.manifest["line_begin"]
        states = {name: np.array(rows, np.float32)[:, None] for name, rows in self.manifest["initial_states"].items()}
        for number in first[:-1]:
            _, states = self.logits(number, states)
        number, ids = first[-1], []
        begin, end = self.manifest["symbols"]["never_written"]
        for _ in range(length):
            logits, states = self.logits(number, states)
            scores = logits.astype(np.float64)
            scores[begin:end] = -np.inf
            if temperature > 0:  # the largest of scores plus Gumbel noise is a draw from the softmax
                scores = scores / temperature + rng.gumbel(size=len(scores))
            number = int(scores.argmax())
            ids.append(number)
        return self.decode(first, ids)


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Write text with a trained language model.")
    parser.add_argument("prompt", nargs="?", default="", help="what the text begins with; - reads lines")
    parser.add_argument("--length", type=int, default=300, help="number of symbols")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the most probable symbol each time")
    parser.add_argument("--seed", type=int, help="the same seed gives the same text")
    arguments = parser.parse_args()
    model = TextGenerator(Path(__file__).parent)
    options = arguments.length, arguments.temperature, arguments.seed
    try:
        if arguments.prompt != "-":
            print(arguments.prompt + model.generate(arguments.prompt, *options))
            return 0
        for line in sys.stdin.buffer:
            prompt = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            print(json.dumps({"prompt": prompt, "text": model.generate(prompt, *options)}), flush=True)
    except UnicodeError as error:
        print(f"the prompt is not valid UTF-8: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
