"""A step of a language model in the exported page, by the kernel of WebAssembly and by plain JavaScript.

    python benchmarks/speed/web_step.py [--hidden 512]

The page is compared with the model before anything is timed. Node.js runs both, a browser on the PATH the kernel.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import elman
from elman.data.text.characters import Characters
from elman.errors import ExportError
from elman.exporters.web.engine import find_engine
from elman.models.language_model import LanguageModel
from elman.predictors.generator import LanguageModelPredictor

SCRIPT = """
import { readFileSync } from "node:fs";
if (process.argv[2] === "plain") globalThis.WebAssembly = undefined;
const { buildModel } = await import("./js/model/load.js");
const manifest = JSON.parse(readFileSync("manifest.json")), file = readFileSync("weights.bin");
const model = buildModel(manifest, file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength));
let state = model.initial(), best = Infinity;
for (let round = 0; round < 40; round++) {
  const begin = performance.now();
  for (let n = 0; n < 25; n++) ({ state } = model.step(n, state));
  best = Math.min(best, (performance.now() - begin) / 25);
}
console.log(JSON.stringify(1000 * best));
"""


def main() -> None:
    """Print the time of a step by each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=512, help="units of the LSTM")
    hidden = parser.parse_args().hidden
    torch.set_num_threads(1)
    vocabulary = Characters("\n" + "".join(map(chr, range(32, 127))), unknown=True)
    model = LanguageModel(len(vocabulary), embedding=128, hidden=hidden).eval()
    predictor = LanguageModelPredictor(model, Path(f"lstm-{hidden}"), vocabulary)
    with TemporaryDirectory() as scratch:
        rows = []
        for kind in ("node", "browser"):
            try:
                find_engine(kind)
            except ExportError as error:
                print(error)
                continue
            page = Path(scratch) / kind
            report = elman.export(predictor, page, to="web", javascript=kind).report
            print(f"{kind}: largest relative difference {max(row.relative for row in report.rows):.1e}")
            rows += [(time.measured, time.microseconds) for time in report.times]
            rows += [("one step by elman, one thread", time.original_microseconds or 0.0) for time in report.times]
        if node := shutil.which("node"):
            (Path(scratch) / "node" / "package.json").write_text('{"type": "module"}')
            (Path(scratch) / "node" / "step.mjs").write_text(SCRIPT)
            for kernel in ("simd", "plain"):
                command = [node, "step.mjs", kernel]
                done = subprocess.run(command, cwd=Path(scratch) / "node", capture_output=True, text=True, check=True)
                rows.append((f"Node.js, kernel {kernel}", float(json.loads(done.stdout))))
    for name, microseconds in rows:
        print(f"{name:32} {microseconds:8.0f} us {1e6 / microseconds:8.0f} symbols/s")


if __name__ == "__main__":
    main()
