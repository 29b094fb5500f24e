"""SqueezeNet: the accuracy of AlexNet on ImageNet with a fiftieth of its weights (Iandola et al. 2016)."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import nn
from ..tensor import Tensor
from .base import IMAGENET_MEAN, IMAGENET_STD, Model, Normalize
from .deep_compression import is_compressed, read_compressed

# Caffe's networks saw pixels from 0 to 255 less these means of red, green and blue.
CAFFE_MEAN, CAFFE_STD = tuple(mean / 255 for mean in (123.0, 117.0, 104.0)), (1 / 255,) * 3


class Fire(nn.Module):
    """Squeeze the channels by a 1x1 convolution, then expand them by 1x1 and 3x3 ones side by side (section 3.2)."""

    def __init__(self, channels: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.rectified(self.squeeze, x)
        return nn.side_by_side([self.expand1x1, self.expand3x3], x)


class SqueezeNet(Model):
    """SqueezeNet 1.0 or 1.1 for 1000 classes of ImageNet. The names of the weights are torchvision's.

    Args:
        version: "1.0" is the paper's; "1.1" has smaller filters in front and needs 2.4 times less work.
        trained_by: where the weights come from, which decides how pixels are prepared. "caffe": the authors' own, which
            Deep Compression made small (Han et al. 2016); they exist for 1.0, and their last convolution pads its
            input by one pixel. "torchvision": PyTorch's.

    Images are RGB, 227 x 227 for Caffe's weights and 224 x 224 for torchvision's; other sizes from 64 x 64 on work too.
    """

    def __init__(self, version: str = "1.0", trained_by: str = "caffe", classes: int = 1000):
        super().__init__()
        if version not in ("1.0", "1.1"):
            raise ValueError(f'SqueezeNet: got version={version!r}, expected "1.0" or "1.1"')
        if trained_by not in ("caffe", "torchvision"):
            raise ValueError(f'SqueezeNet: got trained_by={trained_by!r}, expected "caffe" or "torchvision"')
        caffe = trained_by == "caffe"
        self.normalize = Normalize(CAFFE_MEAN, CAFFE_STD) if caffe else Normalize(IMAGENET_MEAN, IMAGENET_STD)
        fires = [Fire(96 if version == "1.0" else 64, 16, 64), Fire(128, 16, 64), Fire(128, 32, 128), Fire(256, 32, 128),
                 Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
        first = nn.Conv2d(3, 96, 7, stride=2) if version == "1.0" else nn.Conv2d(3, 64, 3, stride=2)
        for before in (7, 3, 0) if version == "1.0" else (4, 2, 0):
            fires.insert(before, nn.MaxPool2d(3, stride=2, ceil_mode=True))     # type: ignore[arg-type]
        self.features = nn.Sequential(first, nn.ReLU(), *fires)
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(512, classes, 1, padding=1 if caffe else 0), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.version, self.trained_by = version, trained_by

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(self.normalize(x)))

    def load_weights(self, path: str | os.PathLike) -> None:
        """As every model's, and from the compressed file of the authors (``compressed_SqueezeNet.net``).

        Raises:
            CompressedError: that file is damaged.
            CheckpointError, ModelMismatchError: see `Model.load_weights`.
        """
        if is_compressed(path):
            self.load_state_dict(self.translate(read_compressed(path, self.compressed_shapes())))
        else:
            super().load_weights(path)

    def compressed_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the filters of 1.0, in the order of the compressed file."""
        weights = {name: w.shape for name, w in self.named_parameters() if name.endswith("weight")}
        return {caffe: weights[ours] for caffe, ours in _caffe_names(self).items()}

    def translate(self, state: dict[str, Any]) -> dict[str, Any]:
        """Caffe's names become ours, and its first filters, made for blue, green and red, take red, green and blue."""
        names = _caffe_names(self)
        if not any(name + ".weight" in state for name in names):
            return super().translate(state)
        if self.trained_by != "caffe" or self.version != "1.0":
            raise nn.ModelMismatchError('these are Caffe\'s weights of version 1.0; make the model with SqueezeNet("1.0", '
                                        'trained_by="caffe")')
        ours = {name.rpartition(".")[0] + "." + kind: state[caffe + "." + kind]
                for caffe, name in names.items() for kind in ("weight", "bias") if caffe + "." + kind in state}
        first = np.asarray(ours.get("features.0.weight", ()))
        return ours if first.ndim != 4 else {**ours, "features.0.weight": Tensor(first[:, ::-1].copy())}


def _caffe_names(model: SqueezeNet) -> dict[str, str]:
    """Caffe's name of each convolution and our name of its weight, in the order of the network."""
    ours = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    theirs = ["conv1", *(f"fire{i}/{part}" for i in range(2, 10) for part in ("conv1x1_1", "conv1x1_2", "conv3x3_2")),
              "conv_final"]
    return {caffe: name + ".weight" for caffe, name in zip(theirs, ours)}
