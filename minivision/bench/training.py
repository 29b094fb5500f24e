"""Whole training steps: forward, backward and SGD, beside PyTorch's with the same network, weights and batches.

The networks are written once, for whatever module has layers of these names: ours or PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

BATCHES = 1, 64
ROTATING = 8                    # batches, taken in turns
SETTINGS: dict[str, Any] = dict(lr=0.01, momentum=0.9)


class Network(NamedTuple):
    name: str
    build: Callable[[Any], Any]             # from the module with the layers, the model
    image: tuple[int, int, int]             # (C, H, W)


class Step(NamedTuple):
    """Someone's training step; calling it trains on the next batch and returns the loss."""

    name: str
    call: Callable[[], float]


def lenet5(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def cifar_cnn(nn: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Linear(256, 10))


NETWORKS = [Network("LeNet-5 @28", lenet5, (1, 28, 28)), Network("CIFAR CNN @32", cifar_cnn, (3, 32, 32))]


def steps(network: Network, batch: int, threads: int, with_peers: bool) -> Iterator[Step]:
    """Ours, and PyTorch's in both layouts if it is installed. They start from the same weights."""
    import minivision as mv

    from .peers import OURS, TORCH, available

    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((batch, *network.image), np.float32), rng.integers(0, 10, batch))
               for _ in range(ROTATING)]
    mv.manual_seed(0)
    model = network.build(mv.nn)
    weights = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    yield Step(OURS, _ours(mv, model, batches))
    if with_peers and available("pytorch"):
        for name in TORCH[:2]:
            yield Step(name, _torch(network, weights, batches, threads, name == TORCH[1]))


def _ours(mv: Any, model: Any, batches: list) -> Callable[[], float]:
    optimizer = mv.optim.SGD(model.parameters(), **SETTINGS)
    return step_of(mv.functional, model, optimizer, [(mv.Tensor(x), mv.Tensor(labels)) for x, labels in batches])


def _torch(network: Network, weights: dict[str, np.ndarray], batches: list, threads: int,
           channels_last: bool) -> Callable[[], float]:
    import torch

    torch.set_num_threads(threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = network.build(torch.nn)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    model = model.to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), **SETTINGS)
    return step_of(torch.nn.functional, model, optimizer,
                 [(torch.from_numpy(x).contiguous(memory_format=layout), torch.from_numpy(labels)) for x, labels in batches])


def step_of(functional: Any, model: Any, optimizer: Any, batches: list) -> Callable[[], float]:
    """One training step, in the words that both libraries share."""
    count = 0

    def step() -> float:
        nonlocal count
        images, labels = batches[count % len(batches)]
        count += 1
        loss = functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
