"""Recurrent reinforcement learning: RecurrentPPO end to end, and TorchRL's recurrent modules, each beside elman's.

    python benchmarks/speed/reinforcement.py ppo [--seed 0] [--steps 16384] [--setting default] [--out FILE]
    python benchmarks/speed/reinforcement.py curves FILE
    python benchmarks/speed/reinforcement.py torchrl [--cells LSTM GRU] [--runs train infer] [--compiled]

`ppo` trains sb3-contrib's policy and elman's on CartPole without velocities, from one seed, in turns of a few rollouts,
so that both meet the same load of the machine. Each has random numbers of its own: the two runs are the same up to
rounding until the first action that rounding changes. The first update is compared before anything is timed. `curves`
puts the lines of several seeds side by side.

`torchrl` runs the sizes of TorchRL's own benchmark of resets (B 128, T 128, I 64, H 256, 3 % resets) by each of
TorchRL's backends for the CPU and by elman's, in turns, and compares outputs, states and gradients with "pad" first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

NAMES = ("sb3-contrib", "elman")

TOLERANCE = 1e-5  # of results and gradients; those of TorchRL's modules relative to the largest of each tensor

SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},  # RecurrentPPO's own: one environment, 128 steps, batches of 128, 10 epochs, H 256
    "zoo": {  # those of rl-baselines3-zoo for this environment
        "n_envs": 8, "n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20,
        "learning_rate": 0.001,
    },
}  # fmt: skip


def clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def largest_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference, relative to the largest number."""
    a, b = a.detach(), b.detach()
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))


class Run:
    """One training run, with random numbers of its own."""

    def __init__(self, policy: Any, setting: str, seed: int) -> None:
        from gymnasium import ObservationWrapper, make, spaces
        from sb3_contrib import RecurrentPPO
        from stable_baselines3.common.env_util import make_vec_env

        class HiddenVelocities(ObservationWrapper):
            def __init__(self, environment: Any) -> None:
                super().__init__(environment)
                low, high = environment.observation_space.low[[0, 2]], environment.observation_space.high[[0, 2]]
                self.observation_space = spaces.Box(low, high, dtype=np.float32)

            def observation(self, observation: np.ndarray) -> np.ndarray:
                return observation[[0, 2]]

        options = dict(SETTINGS[setting])
        environment = make_vec_env(lambda: HiddenVelocities(make("CartPole-v1")), options.pop("n_envs", 1), seed=seed)
        self.model = RecurrentPPO(policy, environment, seed=seed, device="cpu", **options)
        self.random = torch.get_rng_state(), np.random.get_state()
        self.seconds = self.processor_seconds = 0.0
        self.returns: list[tuple[int, float]] = []

    def learn(self, steps: int) -> None:
        torch.set_rng_state(self.random[0])
        np.random.set_state(self.random[1])
        wall, processor = clock()
        self.model.learn(steps, reset_num_timesteps=False)
        self.seconds += time.perf_counter() - wall
        self.processor_seconds += time.process_time() - processor
        self.random = torch.get_rng_state(), np.random.get_state()
        episodes = [episode["r"] for episode in self.model.ep_info_buffer][-20:]
        self.returns.append((self.model.num_timesteps, float(np.mean(episodes)) if episodes else 0.0))


def compare_first_update(setting: str, seed: int) -> tuple[float, float]:
    """Return the largest difference between the gradients of both policies in their first update, and the largest."""
    runs = [Run(policy, setting, seed) for policy in policies().values()]
    for run in runs:
        run.model.n_epochs = 1
        run.model.batch_size = None  # a single step of the optimiser
        run.model.max_grad_norm = 1e9
        run.learn(1)
    stock, ours = ([p.grad for p in run.model.policy.parameters()] for run in runs)
    difference = max(float((a - b).abs().max()) for a, b in zip(ours, stock, strict=True))
    return difference, max(float(b.abs().max()) for b in stock)


def policies() -> dict[str, Any]:
    from elman.integrations.rl.sb3 import MlpLstmPolicy

    return dict(zip(NAMES, ("MlpLstmPolicy", MlpLstmPolicy), strict=True))


def ppo(given: argparse.Namespace) -> None:
    difference, largest = compare_first_update(given.setting, given.seed)
    print(f"gradients of the first update differ by {difference:.1e}, the largest is {largest:.2g}", flush=True)
    if difference > TOLERANCE:
        sys.exit(f"this is more than {TOLERANCE}")
    runs = {name: Run(policy, given.setting, given.seed) for name, policy in policies().items()}
    rollout = next(iter(runs.values())).model
    turn = rollout.n_steps * rollout.n_envs * 4
    end = time.perf_counter() + given.seconds
    while rollout.num_timesteps < given.steps and time.perf_counter() < end:
        for run in runs.values():
            run.learn(turn)
    line: dict[str, Any] = {
        "seed": given.seed,
        "setting": given.setting,
        "threads": given.threads,
        "gradients": difference,
    }
    for name, run in runs.items():
        steps = run.model.num_timesteps
        line[name] = {
            "steps": steps, "seconds": round(run.seconds, 2), "processor_seconds": round(run.processor_seconds, 2),
            "steps_per_second": round(steps / run.seconds, 1), "returns": run.returns,
        }  # fmt: skip
        shown = ", ".join(f"{n}: {r:.0f}" for n, r in run.returns[:: max(1, len(run.returns) // 8)])
        rates = f"{steps / run.seconds:7.1f} steps/s ({steps / run.processor_seconds:.1f} per processor second)"
        print(f"{name:12} {rates}; {shown}")
    stock, ours = (line[name] for name in NAMES)
    print(
        f"ratio {stock['seconds'] / ours['seconds']:.2f} by the clock, "
        f"{stock['processor_seconds'] / ours['processor_seconds']:.2f} by processor time"
    )
    if given.out:
        with Path(given.out).open("a") as file:
            file.write(json.dumps(line) + "\n")


def curves(given: argparse.Namespace) -> None:
    lines = [json.loads(text) for text in Path(given.file).read_text().splitlines()]
    for setting in sorted({line["setting"] for line in lines}):
        chosen = [line for line in lines if line["setting"] == setting]
        ratios = [line[NAMES[0]]["seconds"] / line[NAMES[1]]["seconds"] for line in chosen]
        span = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{setting}: {len(chosen)} seeds, {NAMES[0]} over {NAMES[1]} {span}\n")
        print("| steps | " + " | ".join(f"{name}: mean return (lowest to highest)" for name in NAMES) + " |")
        print("| --- | --- | --- |")
        count = min(len(line[name]["returns"]) for line in chosen for name in NAMES)
        for k in range(0, count, max(1, count // 16)):
            cells = []
            for name in NAMES:
                values = [line[name]["returns"][k][1] for line in chosen]
                cells.append(f"{statistics.fmean(values):.0f} ({min(values):.0f} to {max(values):.0f})")
            print(f"| {chosen[0][NAMES[0]]['returns'][k][0]} | " + " | ".join(cells) + " |")


def torchrl(given: argparse.Namespace) -> None:
    for cell in given.cells:
        for run in given.runs:
            compare_backends(cell, run == "train", given)


def compare_backends(cell: str, train: bool, given: argparse.Namespace) -> None:
    """Check, then time the backends on one cell, in turns."""
    import torchrl.modules
    from tensordict import TensorDict

    import elman.integrations.rl.torchrl as ours

    B, T, I, H = given.sizes
    generator = torch.Generator().manual_seed(0)
    x_BTI = torch.randn(B, T, I, generator=generator)
    is_init = torch.zeros(B, T, 1, dtype=torch.bool)
    is_init[:, 1:] = torch.rand(B, T - 1, 1, generator=generator) < given.resets
    states = ["h", "c"][: 2 if cell == "LSTM" else 1]
    zeros = torch.zeros(B, T, 1, H)
    outputs = ["y", *[("next", name) for name in states]]

    def build(library: Any, **options: Any) -> Any:
        torch.manual_seed(0)
        keys = {"in_keys": ["x", *states], "out_keys": outputs}
        return getattr(library, f"{cell}Module")(I, H, default_recurrent_mode=True, **keys, **options)

    def call(module: Any) -> list[torch.Tensor]:
        batch = TensorDict({"x": x_BTI, "is_init": is_init, **dict.fromkeys(states, zeros)}, [B, T])
        module(batch)
        return [batch[key] for key in outputs]

    modules = {
        "pad": build(torchrl.modules),
        "scan": build(torchrl.modules, recurrent_backend="scan"),
        "elman": build(ours),
    }
    calls: dict[str, Callable[[], list[torch.Tensor]]] = {
        name: (lambda module=module: call(module)) for name, module in modules.items()
    }
    if given.compiled:
        modules["scan, compiled"] = build(torchrl.modules, recurrent_backend="scan", python_based=True)
        calls["scan, compiled"] = torch.compile(lambda: call(modules["scan, compiled"]))

    def once(name: str) -> list[torch.Tensor]:
        if not train:
            with torch.inference_mode():
                return calls[name]()
        results = calls[name]()
        for parameter in modules[name].parameters():
            parameter.grad = None
        results[0].square().sum().div(B).backward()
        return [*results, *[p.grad for p in modules[name].parameters()]]

    right = [t.detach().clone() for t in once("pad")]
    names = list(calls)
    for name in list(calls):
        try:
            difference = max(map(largest_difference, once(name), right))
        except Exception as error:  # a backend that cannot run this case is left out, and named
            print(f"  {name} does not run: {type(error).__name__}: {str(error).splitlines()[0]}")
            names.remove(name)
            continue
        if difference > TOLERANCE:
            sys.exit(f"{name} differs from pad by {difference:.1e}")
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(given.rounds):
        for name in names:
            wall, processor = clock()
            once(name)
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
    medians = {
        name: [statistics.median(column) for column in zip(*taken, strict=True)] for name, taken in times.items()
    }
    others = [name for name in names if name != "elman"]
    ratios = [min(medians[name][k] for name in others) / medians["elman"][k] for k in range(2)]
    listed = ", ".join(
        f"{name} {wall * 1e3:.0f} ({processor * 1e3:.0f})" for name, (wall, processor) in medians.items()
    )
    print(f"{cell} {'train' if train else 'infer'}: ms (of processor time) {listed}")
    print(f"  the best of TorchRL's over elman's: {ratios[0]:.2f} ({ratios[1]:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Recurrent reinforcement learning beside sb3-contrib and TorchRL.")
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("ppo")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--steps", type=int, default=16384)
    one.add_argument("--seconds", type=float, default=280.0, help="stop after the turn in which these are over")
    one.add_argument("--setting", choices=SETTINGS, default="default")
    one.add_argument("--threads", type=int, default=2)
    one.add_argument("--out", help="a file to append a JSON line to")
    one.set_defaults(run=ppo)
    several = commands.add_parser("curves")
    several.add_argument("file")
    several.set_defaults(run=curves, threads=1)
    modules = commands.add_parser("torchrl")
    modules.add_argument("--cells", nargs="+", default=["LSTM", "GRU"], choices=("LSTM", "GRU"))
    modules.add_argument("--runs", nargs="+", default=["train", "infer"], choices=("train", "infer"))
    modules.add_argument("--sizes", type=int, nargs=4, default=(128, 128, 64, 256), help="B, T, I, H")
    modules.add_argument("--resets", type=float, default=0.03)
    modules.add_argument("--rounds", type=int, default=3)
    modules.add_argument("--compiled", action="store_true", help="the backend scan under torch.compile too")
    modules.add_argument("--threads", type=int, default=2)
    modules.set_defaults(run=torchrl)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.run(given)


if __name__ == "__main__":
    main()
