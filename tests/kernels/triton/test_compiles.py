"""The kernels go through Triton's compiler to machine code of a Hopper GPU, which needs no GPU, and are sound there.

The interpreter cannot say whether a kernel compiles, nor whether W stays on the chip: so this looks at what comes out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "compiled.py"
CALLS = (
    # cell, B, H, type, tier, with lengths, resets and reverse
    ("lstm", 16, 128, "bf16", 1, False),
    ("gru", 64, 256, "bf16", 2, True),
    ("rnn_tanh", 16, 64, "fp32", 3, True),
)


def test_kernels_compile_for_a_gpu_and_keep_w_on_the_chip() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), json.dumps(CALLS)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout):
        assert found["stack"] <= 16, found  # bytes a thread spills: a register or two
        if found["tier"] != 3:
            assert found["shared"] > found["w"], found  # W is there before the loop begins
            assert found["loads_of_w_in_the_loop"] == 0 and found["tensor_core_products"] > 0, found
        assert found["cooperative"] == (found["tier"] == 2), found
