"""Looks into a network: whole jobs of `minivision.explain`, beside the same loops in PyTorch with the same weights and batches.

Occlusion, attacks and DeepDream are loops around a network, and libraries for PyTorch (captum, torchattacks) write them as they
are written here. So the loops cost nothing, and what is compared is the networks: forward, and backward to the image.
The weights are random: they change what is seen, and not how long it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

SIDE, WINDOW, STRIDE, BATCH = 227, 32, 8, 32            # of SqueezeNet's image, of occlusion, and positions per forward pass
CLASS = 281                                             # of SqueezeNet's; which one does not matter
LAYER, PARTS = "features.8", 9                          # the layer that dreams, and how many parts of ``features`` lead to it
EPS, STEPS, DREAM = 8 / 255, 10, 1.5 / 255              # of the attack and of the dream
FORWARD = 1, 32                                         # images in a forward pass


class Look(NamedTuple):
    """One job: from a network and images (N, C, H, W), what is computed; in our words and in PyTorch's."""

    name: str
    network: str                                        # "squeezenet" or "resnet20"
    batch: int                                          # images given
    ours: Callable[[Any, np.ndarray], np.ndarray]
    theirs: Callable[[Any, Any], Any]


class Contestant(NamedTuple):
    """Someone who does a job; calling it returns the result as an array."""

    name: str
    call: Callable[[], np.ndarray]


def looks(batches: Sequence[int]) -> list[Look]:
    """All jobs; ``batches`` are those of the forward pass."""
    return [*(Look("SqueezeNet forward", "squeezenet", batch, _forward, _torch_forward) for batch in batches or FORWARD),
            Look(f"occlusion map {WINDOW}/{STRIDE}", "squeezenet", 1, _occlusion, _torch_occlusion),
            Look(f"PGD, {STEPS} steps", "resnet20", 100, _pgd, _torch_pgd),
            Look(f"DeepDream, {STEPS} steps", "squeezenet", 1, _dream, _torch_dream)]


def contestants(look: Look, threads: int, with_peers: bool, side: int = SIDE) -> Iterator[Contestant]:
    """Ours, and PyTorch's in both layouts if it is installed."""
    import minivision as mv

    from .peers import OURS, TORCH, available

    mv.manual_seed(0)
    model = (mv.models.SqueezeNet("1.0") if look.network == "squeezenet" else mv.models.ResNet20()).eval()
    shape = (look.batch, 3, side, side) if look.network == "squeezenet" else (look.batch, 3, 32, 32)
    images = np.random.default_rng(0).random(shape, np.float32)
    yield Contestant(OURS, lambda: look.ours(model, images))
    if with_peers and available("pytorch"):
        import torch

        torch.set_num_threads(threads)
        for name in TORCH[:2]:
            yield Contestant(name, _torch_call(torch, look, model, images, name == TORCH[1]))


def _torch_call(torch: Any, look: Look, model: Any, images: np.ndarray, channels_last: bool) -> Callable[[], np.ndarray]:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    twin = torch_twin(look.network, model).to(memory_format=layout)
    x = torch.from_numpy(images).contiguous(memory_format=layout)
    return lambda: look.theirs(twin, x).detach().numpy()


# ----------------------------------------------------------------------------------------------- the jobs in our words

def _forward(model: Any, images: np.ndarray) -> np.ndarray:
    from ..explain.inside import scores

    return scores(model, images, len(images))


def _occlusion(model: Any, images: np.ndarray) -> np.ndarray:
    from .. import explain

    return explain.occlusion_map(model, images[0], CLASS, WINDOW, STRIDE, batch_size=BATCH)


def _pgd(model: Any, images: np.ndarray) -> np.ndarray:
    from .. import explain

    return explain.pgd(model, images, 0, EPS, steps=STEPS, random_start=False).images


def _dream(model: Any, images: np.ndarray) -> np.ndarray:
    from .. import explain

    return explain.deepdream(model, images[0], LAYER, steps=STEPS, octaves=1, jitter=0, step=DREAM)


# ------------------------------------------------------------------------------------------------ and in PyTorch's words

def _torch_forward(model: Any, x: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(x)


def _torch_occlusion(model: Any, x: Any) -> Any:
    import torch

    from ..explain.occlusion import positions

    height, width = x.shape[2:]
    windows = [(rows, columns) for rows in positions(height, WINDOW, STRIDE) for columns in positions(width, WINDOW, STRIDE)]
    found = []
    with torch.no_grad():
        for start in range(0, len(windows), BATCH):
            part = windows[start:start + BATCH]
            batch = x.repeat(len(part), 1, 1, 1)
            for image, (rows, columns) in zip(batch, part):
                image[:, rows[0]:rows[1], columns[0]:columns[1]] = 0.5
            found.append(model(batch).softmax(1)[:, CLASS])
    return torch.cat(found).reshape(len(positions(height, WINDOW, STRIDE)), -1)


def _torch_pgd(model: Any, x: Any) -> Any:
    import torch

    labels = torch.zeros(len(x), dtype=torch.long)
    changed = x
    for _ in range(STEPS):
        changed = changed.detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(model(changed), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, changed)
        changed = changed.detach() + 2.5 * EPS / STEPS * gradient.sign()
        changed = torch.clamp(torch.minimum(torch.maximum(changed, x - EPS), x + EPS), 0, 1)
    with torch.no_grad():
        model(changed).argmax(1)                        # which of them succeeded, as our `Attack` says too
    return changed


def _torch_dream(model: Any, x: Any) -> Any:
    import torch

    for _ in range(STEPS):
        x = x.detach().requires_grad_()
        activation = model[:PARTS + 1](x)               # the preparation of pixels, and the parts up to LAYER
        (gradient,) = torch.autograd.grad(activation, x, activation.detach())
        x = torch.clamp(x.detach() + gradient * (DREAM / gradient.abs().mean()), 0, 1)
    return x[0]


def torch_twin(network: str, model: Any) -> Any:
    """The same network of PyTorch's layers, with the weights of ``model``; its parts have our names, but for the first parts of
    SqueezeNet, which are flat: preparation, features, classifier."""
    import torch
    from torch import nn

    class Prepare(nn.Module):
        """(x - mean) / std, kept in buffers so that nothing is made anew in each call."""

        def __init__(self) -> None:
            super().__init__()
            column = (1, 3, 1, 1)
            self.register_buffer("mean", torch.tensor(model.normalize.mean).reshape(column), persistent=False)
            self.register_buffer("std", torch.tensor(model.normalize.std).reshape(column), persistent=False)

        def forward(self, x: Any) -> Any:
            return (x - self.mean) / self.std

    class Fire(nn.Module):
        def __init__(self, channels: int, squeeze: int, expand: int) -> None:
            super().__init__()
            self.squeeze = nn.Conv2d(channels, squeeze, 1)
            self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
            self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.squeeze(x))
            return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)

    class Block(nn.Module):
        def __init__(self, channels: int, filters: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.stride, self.missing = stride, (filters - channels) // 2

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            if self.stride > 1:
                x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.missing, self.missing))
            return torch.relu(x + y)

    class Mean(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3))

    def fire(ours: Any) -> Any:
        return Fire(ours.squeeze.weight.shape[1], ours.squeeze.weight.shape[0], ours.expand1x1.weight.shape[0])

    if network == "squeezenet":
        kinds: dict[str, Callable[[Any], Any]] = {
            "Conv2d": lambda ours: nn.Conv2d(3, 96, 7, 2), "ReLU": lambda ours: nn.ReLU(), "Fire": fire,
            "MaxPool2d": lambda ours: nn.MaxPool2d(3, 2, ceil_mode=True)}
        features = [kinds[type(part).__name__](part) for part in model.features]
        twin = nn.Sequential(Prepare(), *features, nn.Dropout(0.5), nn.Conv2d(512, 1000, 1, padding=1), nn.ReLU(),
                             nn.AdaptiveAvgPool2d(1), nn.Flatten())
    else:
        stages = [[Block(16, 16, 1) for _ in range(3)],
                  *([Block(n // 2, n, 2), Block(n, n, 1), Block(n, n, 1)] for n in (32, 64))]
        twin = nn.Sequential(Prepare(), nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                             *(nn.Sequential(*stage) for stage in stages), Mean(), nn.Linear(64, 10))
    ours, theirs = model.state_dict(), twin.state_dict()    # in the same order, since they are built in the same order
    assert [tuple(value.shape) for value in ours.values()] == [tuple(value.shape) for value in theirs.values()]
    twin.load_state_dict({name: torch.from_numpy(np.array(value.numpy())) for name, value in zip(theirs, ours.values())})
    return twin.eval()
