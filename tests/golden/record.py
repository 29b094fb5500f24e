"""Record what PyTorch answers to the cases of `golden_cases.py`. Run again only when a case is added:

    python tests/golden/record.py

Writes functions.npz and optimisers.npz beside this file: plain arrays, no pickle, the same bytes for the same PyTorch.
For every function the output, the gradient towards each input, and the second gradient (that of a fixed combination of
the first ones) towards each input; for every optimiser its path over STEPS steps; for every schedule its rates.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from golden_cases import EPOCHS, FUNCTIONS, OPTIMISERS, SCHEDULES, STEPS, inputs  # noqa: E402


def functions():
    found = {}
    for name, (call, shapes) in FUNCTIONS.items():
        x = [torch.tensor(a, requires_grad=True) for a in inputs(name, shapes)]
        y = call(torch.nn.functional, lambda v: torch.tensor(v, dtype=torch.float64 if isinstance(v[0], float) else None), *x)
        found[f"{name}|output"] = y
        upstream, = inputs(name + " upstream", [tuple(y.shape)])
        first = torch.autograd.grad(y, x, torch.tensor(upstream), create_graph=True)
        total = sum((g * torch.tensor(w)).sum() for g, w in zip(first, inputs(name + " second", shapes)))
        second = torch.autograd.grad(total, x, allow_unused=True) if total.requires_grad else [None] * len(x)
        for i, (g, h) in enumerate(zip(first, second)):
            found[f"{name}|gradient {i}"] = g
            found[f"{name}|second {i}"] = torch.zeros_like(x[i]) if h is None else h
    return {k: v.detach().numpy(force=True) for k, v in found.items()}


def optimisers():
    found = {}
    for name, (kind, settings) in OPTIMISERS.items():
        start, *grads = inputs(name, [(3,)] * (STEPS + 1))
        p = torch.tensor(start, requires_grad=True)
        optimiser, path = getattr(torch.optim, kind)([p], **settings), []
        for g in grads:
            p.grad = torch.tensor(g)
            optimiser.step()
            path.append(p.detach().numpy().copy())
        found[name] = np.stack(path)
    for name, settings in SCHEDULES.items():
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
        schedule, rates = getattr(torch.optim.lr_scheduler, name)(optimiser, **settings), []
        for _ in range(EPOCHS):
            optimiser.step()
            schedule.step()
            rates.append(optimiser.param_groups[0]["lr"])
        found[name] = np.array(rates)
    return found


def write(path, arrays):
    """np.savez without the time of day in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(HERE / "functions.npz", functions())
    write(HERE / "optimisers.npz", optimisers())
    print(f"recorded with PyTorch {torch.__version__}")
