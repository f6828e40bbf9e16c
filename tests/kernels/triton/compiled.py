"""Compile kernels for a Hopper GPU and print what they need: `python compiled.py JSON`, with Triton as it is.

JSON is a list of [cell, B, H, type, tier, whether with every option].
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from elman.kernels.triton.backward import backward
from elman.kernels.triton.forward import forward
from elman.kernels.triton.plan import KINDS, plan

BYTES = {"bf16": 2, "fp16": 2, "fp32": 4, "fp64": 8}
TYPES = {"bf16": tl.bfloat16, "fp16": tl.float16, "fp32": tl.float32, "fp64": tl.float64}


def source(kernel: Any, kind: str, B: int, H: int, type: str, tier: int, options: bool) -> tuple[ASTSource, Any]:
    """Return a kernel with the types that `elman.kernels.triton.launch` gives to it, and its plan."""
    chosen = plan(kind, B, H, BYTES[type], tier=tier)
    assert chosen.tier == tier
    cell, sums = KINDS[kind], "fp64" if type == "fp64" else "fp32"
    fixed: dict[str, Any] = {
        "KIND": kind, "GATES": cell.gates, "BLOCKS": cell.blocks, "TIER": tier, "BB": chosen.BB, "BH": chosen.BH,
        "KP": chosen.KP, "REVERSE": options, "RAGGED": options, "RESETS": options, "KEEP_GATES": cell.blocks > 1,
        "KEEP_PAST": kind == "lstm", "DOT": TYPES[type], "ACC": TYPES[sums], "PRECISION": "ieee",
    }  # fmt: skip
    wide = {"product": tier == 3, "carry": cell.carries, "d_h": True, "d_c": kind == "lstm", "d_h_initial": options}
    wide["d_c_initial"] = options and kind == "lstm"
    given = {"state": tier == 3, "b_n": kind == "gru", "h_initial": options, "c_initial": options and kind == "lstm"}
    others = {"lengths": options and "*i64", "fresh": options and "*i8", "counters": tier == 2 and "*i32"}
    whole = ("s0", "s1", "n0", "n1", "T", "B", "H", "programs")
    signature: dict[str, str] = {}
    for name in kernel.arg_names:
        pointer = f"*{sums}" if wide.get(name) else others.get(name) if name in others else f"*{type}"
        if name in fixed:
            signature[name] = "constexpr"
        elif name in whole:
            signature[name] = "i32"
        elif not pointer or not wide.get(name, True) or not given.get(name, True):
            signature[name], fixed[name] = "constexpr", None
        else:
            signature[name] = pointer
    places = {name: (k,) for k, name in enumerate(kernel.arg_names)}
    constants = {places[name]: value for name, value in fixed.items() if name in places}
    aligned = [n for n in signature if signature[n].startswith("*") or (n == "H" and H % 16 == 0)]
    attributes = {places[name]: [["tt.divisibility", 16]] for name in aligned}
    return ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes), chosen


def compiled(kernel: Any, kind: str, B: int, H: int, type: str, tier: int, options: bool) -> dict[str, Any]:
    program, chosen = source(kernel, kind, B, H, type, tier, options)
    settings = {"num_warps": chosen.warps, "num_stages": 1, "launch_cooperative_grid": tier == 2}
    found = triton.compile(program, target=GPUTarget("cuda", 90, 32), options=settings)
    loop = found.asm["ttgir"].partition("scf.for")[2]
    ptx = found.asm["ptx"]
    return {
        "kernel": kernel.__name__, "kind": kind, "tier": tier, "plan": chosen, "shared": found.metadata.shared,
        "w": KINDS[kind].gates * chosen.BH * chosen.KP * BYTES[type] if tier != 3 else 0,
        "loads_of_w_in_the_loop": len(re.findall(r"%w\w* = tt\.load", loop)),
        "tensor_core_products": len(re.findall(r"mma\.sync|wgmma\.mma", ptx)),
        "stack": _stack(found.asm["cubin"]), "cooperative": bool(found.metadata.launch_cooperative_grid),
    }  # fmt: skip


def _stack(cubin: bytes) -> int:
    """Return the bytes that a thread spills, as the tool beside Triton's assembler tells."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = subprocess.run([str(tool), "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return max(int(n) for n in re.findall(r"STACK:(\d+)", told))


if __name__ == "__main__":
    print(json.dumps([compiled(k, *call) for call in json.loads(sys.argv[1]) for k in (forward, backward)]))  # noqa: T201
