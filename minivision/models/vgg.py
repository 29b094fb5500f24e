"""VGG: 3x3 convolutions in blocks, each block with half the pixels and twice the channels of the one before."""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .base import IMAGENET_MEAN, IMAGENET_STD, Model, Normalize

# Filters of each convolution, "M" for a 2x2 max pooling (Simonyan and Zisserman 2015, table 1: columns A, B, D and E).
LAYERS: dict[int, tuple[int | str, ...]] = {
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    19: (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M"),
}


class VGG(Model):
    """The network with ``depth`` layers of weights: 11, 13, 16 or 19. VGG-16 has 138,357,544 parameters for 1000 classes.

    Images are RGB, 224 x 224 in the paper, any size from 32 x 32 here. The names of the weights are torchvision's.
    """

    def __init__(self, depth: int = 16, classes: int = 1000):
        super().__init__()
        if depth not in LAYERS:
            raise ValueError(f"VGG: got depth={depth!r}, expected one of {', '.join(map(str, LAYERS))}")
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        layers: list[nn.Module] = []
        channels = 3
        for filters in LAYERS[depth]:
            if isinstance(filters, str):
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
                channels = filters
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(0.5),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(self.normalize(x))).flatten(1))
