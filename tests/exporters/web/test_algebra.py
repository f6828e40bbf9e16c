"""The products of the page: by the kernel of WebAssembly and by plain JavaScript, against NumPy."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

NODE = shutil.which("node")

SIZES = [(1, 1), (3, 9), (4, 4), (5, 7), (8, 3), (13, 4), (64, 30), (66, 129), (200, 64)]

SCRIPT = """
import { readFileSync } from "node:fs";
const { sizes, plain } = JSON.parse(readFileSync(0));
if (plain) globalThis.WebAssembly = undefined;
const { affine, largest, matrixMemory } = await import("./algebra.js");
const products = sizes.map(({ M, x, b, rows, skipped }) => {
  const buffer = matrixMemory(4 * (M.length + skipped), Math.max(4, rows, x.length));
  const matrix = new Float32Array(buffer, 4 * skipped, M.length), out = new Float32Array(rows).fill(NaN);
  matrix.set(M);
  affine(matrix, Float32Array.from(x), Float32Array.from(b), out);
  return Array.from(out);
});
console.log(JSON.stringify({ products, largest: largest([1, 3, 2, 3, -1, 0], 4) }));
"""


@pytest.mark.skipif(NODE is None, reason="no Node.js on the PATH")
@pytest.mark.parametrize("plain", [False, True])
def test_products_of_any_size(tmp_path: Path, plain: bool) -> None:
    for name in ("algebra.js", "simd.js"):
        (tmp_path / name).write_bytes((files("elman.exporters.web") / "page" / "model" / name).read_bytes())
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "check.mjs").write_text(SCRIPT)
    rng, sizes, expected = np.random.default_rng(1), [], []
    for n, (rows, cols) in enumerate(SIZES):
        M, x, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((rows, cols), cols, rows))
        sizes.append({"M": M.ravel().tolist(), "x": x.tolist(), "b": b.tolist(), "rows": rows, "skipped": n % 4})
        expected.append(M.astype(np.float64) @ x + b)
    request = json.dumps({"sizes": sizes, "plain": plain})
    done = subprocess.run(
        [str(NODE), "check.mjs"], input=request, capture_output=True, text=True, cwd=tmp_path, check=True
    )
    answer = json.loads(done.stdout)
    for actual, numbers in zip(answer["products"], expected, strict=True):
        np.testing.assert_allclose(actual, numbers, rtol=0, atol=2e-5)
    assert answer["largest"] == [1, 3, 2, 0]
