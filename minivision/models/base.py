"""What all models share."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import nn
from ..checkpoint import load
from ..ops.norm import ChannelAffine
from ..tensor import Tensor


class Model(nn.Module):
    """What all models share: the names of their layers, and weights from a file."""

    def layers(self) -> list[str]:
        """The paths of all layers without sub-layers, in the order in which they were made."""
        return [name for name, module in self.named_modules() if name and not any(module.named_children())]

    def load_weights(self, path: str | os.PathLike) -> None:
        """Take the weights from a safetensors file or a training checkpoint.

        Raises:
            CheckpointError: the file is damaged or of another format.
            ModelMismatchError: it is for another model.
        """
        state = load(path)
        self.load_state_dict(self.translate(state["model"] if isinstance(state.get("model"), dict) else state))

    def translate(self, state: dict[str, Any]) -> dict[str, Any]:
        """The arrays of a file under the names of this model; models whose published weights have other names say how.

        Files from before PyTorch counted the batches of its batch normalisation lack those counts: ours take their place.
        """
        counts = {name: value for name, value in self.state_dict().items() if name.endswith(".num_batches_tracked")}
        return {**counts, **state}


class Normalize(nn.Module):
    """(x - mean) / std for each channel: the first layer of a model whose weights were trained on such numbers.

    Images go into a model with values in [0, 1]; what its training did to them beyond that is part of the model.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1] != len(self.mean):
            raise ValueError(f"got images of shape {x.shape}, expected (N, {len(self.mean)}, H, W) with values in [0, 1]")
        mean, std = np.array(self.mean), np.array(self.std)
        factor, number = (Tensor(numbers.astype(x.dtype)).to(x.device) for numbers in (1 / std, -mean / std))
        return ChannelAffine.apply(x, factor, number)

    def extra_repr(self) -> str:
        return f"mean={self.mean}, std={self.std}"


# The mean and spread of the training images of ImageNet, as PyTorch's published weights expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
