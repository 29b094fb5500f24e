"""One epoch of training, beside PyTorch: the same network, batches, weights and threads, measured in turns in one run.

    python benchmarks/training.py [--threads 2] [--steps 40] [--rounds 7]

Absolute times drift on shared machines, so the two take turns, a few steps each, and the ratio of each pair of turns is
what counts; the table gives the median. Compiling and loading come before the clock starts. The results go to
``results/training.json`` and, between two marks, into the README.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date

import numpy as np
from tables import HERE, README, rewrite

from minivision import doctor

CASES = [  # data set, channels, image size, batch size, images in an epoch
    ("digits", 1, 8, 32, 1437),
    ("MNIST, Fashion-MNIST", 1, 28, 64, 60000),
    ("CIFAR-10", 3, 32, 64, 50000),
]


def ours(channels: int, size: int, batches: list) -> tuple[Callable[[int], float], dict]:
    """A function that takes training step i and returns its loss, and the weights it starts from."""
    import minivision as mv
    from minivision import functional as F

    mv.manual_seed(0)
    model = mv.models.SmallCNN(channels=channels, image_size=size)
    for module in model.modules():
        if isinstance(module, mv.nn.Dropout):
            module.p = 0.0                       # two libraries draw two masks, and the losses could not be compared
    optimizer = mv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def step(i: int) -> float:
        images, labels = batches[i % len(batches)]
        loss = F.cross_entropy(model(mv.Tensor(images)), mv.Tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, {name: value.numpy() for name, value in model.state_dict().items()}


def theirs(channels: int, size: int, batches: list, weights: dict) -> Callable[[int], float]:
    """The same in PyTorch."""
    import torch
    from torch import nn

    large, side = size >= 16, size // 4 if size >= 16 else size // 2
    model = nn.Module()
    model.features = nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), *([nn.MaxPool2d(2)] if large else []),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    model.classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(32 * side * side, 128), nn.ReLU(), nn.Dropout(0.0), nn.Linear(128, 10))
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)

    def step(i: int) -> float:
        images, labels = batches[i % len(batches)]
        loss = nn.functional.cross_entropy(model.classifier(model.features(torch.from_numpy(images))), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(case: tuple, steps: int, rounds: int) -> dict:
    """Both libraries in turns; times in seconds per step."""
    name, channels, size, batch, images = case
    rng = np.random.default_rng(0)
    batches = [(rng.random((batch, channels, size, size), np.float32), rng.integers(0, 10, batch)) for _ in range(8)]
    mine, weights = ours(channels, size, batches)
    peer = theirs(channels, size, batches, weights)
    difference = max(abs(mine(i) - peer(i)) for i in range(8))           # warm-up, and a check that both do the same
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for who, step in (("ours", mine), ("theirs", peer)):
            start = time.perf_counter()
            for i in range(steps):
                step(i)
            times[who].append((time.perf_counter() - start) / steps)
    ratio = statistics.median(b / a for a, b in zip(times["ours"], times["theirs"]))
    mine_s, peer_s = statistics.median(times["ours"]), statistics.median(times["theirs"])
    return {"data": name, "batch": batch, "ours_ms": mine_s * 1e3, "pytorch_ms": peer_s * 1e3,
            "ours_epoch_s": mine_s * images / batch, "pytorch_epoch_s": peer_s * images / batch,
            "speed_ratio": ratio, "loss_difference": difference}


def table(result: dict) -> str:
    lines = ["| SmallCNN on | batch | ours, ms a step | PyTorch's | ours, s an epoch | PyTorch's | our speed / PyTorch's |",
             "|---|---|---|---|---|---|---|"]
    for r in result["rows"]:
        lines.append(f"| {r['data']} | {r['batch']} | {r['ours_ms']:.2f} | {r['pytorch_ms']:.2f} | {r['ours_epoch_s']:.1f} | "
                     f"{r['pytorch_epoch_s']:.1f} | {r['speed_ratio']:.2f} |")
    v = result["versions"]
    lines.append("")
    lines.append(f"{result['machine']}, {result['threads']} threads, Python {v['python']}, NumPy {v['numpy']}, "
                 f"numba {v['numba']}, PyTorch {v['torch']}, {result['date']}. One step is forward, backward and SGD, without "
                 "loading data.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--steps", type=int, default=40, help="steps in one turn")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each library")
    args = parser.parse_args()

    import numba
    import torch

    import minivision_kernels as kernels

    kernels.set_num_threads(args.threads)
    torch.set_num_threads(args.threads)
    rows = []
    for case in CASES:
        rows.append(measure(case, args.steps, args.rounds))
        print(json.dumps(rows[-1]), flush=True)
    machine = dict(doctor.processor())["name"]
    result = {"machine": machine, "threads": args.threads, "date": date.today().isoformat(), "rows": rows,
              "versions": {"python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__,
                           "torch": torch.__version__}}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "training.json").write_text(json.dumps(result, indent=1) + "\n")
    rewrite(README, "training", table(result))
    print(table(result))


if __name__ == "__main__":
    main()
