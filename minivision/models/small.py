"""Networks small enough to train while you watch."""

from __future__ import annotations

from .. import nn
from ..tensor import Tensor
from .base import Model


class LeNet5(Model):
    """Two convolutions and three fully connected layers (LeCun et al. 1998, fig. 2), with ReLU and max pooling.

    61,706 parameters for one channel and ten classes. The paper's images are 32 x 32; smaller ones are padded to that.
    """

    def __init__(self, classes: int = 10, channels: int = 1, image_size: int = 28):
        super().__init__()
        if not 28 <= image_size <= 32 or image_size % 2:
            raise ValueError(f"LeNet5: got image_size={image_size}, expected 28, 30 or 32; use SmallCNN for other sizes")
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=(32 - image_size) // 2), nn.ReLU(), nn.MaxPool2d(2),    # 6 x 14 x 14
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),                                          # 16 x 5 x 5
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class SmallCNN(Model):
    """Two 3x3 convolutions, pooled, and two fully connected layers, for images of 8 x 8 pixels and more.

    Images of 16 pixels and more are pooled after each convolution, smaller ones only after the second.
    """

    def __init__(self, classes: int = 10, channels: int = 1, image_size: int = 28, width: int = 16):
        super().__init__()
        if image_size < 4:
            raise ValueError(f"SmallCNN: got image_size={image_size}, expected at least 4")
        large = image_size >= 16
        side = image_size // 4 if large else image_size // 2
        first = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] + ([nn.MaxPool2d(2)] if large else [])
        self.features = nn.Sequential(*first, nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(2 * width * side * side, 128), nn.ReLU(), nn.Dropout(0.25), nn.Linear(128, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


class Linear(Model):
    """The linear score f = W x + b of the flattened image: one template for each class."""

    def __init__(self, classes: int = 10, channels: int = 1, image_size: int = 28):
        super().__init__()
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size * image_size, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class MLP(Model):
    """f = W2 max(0, W1 x + b1) + b2: one hidden layer."""

    def __init__(self, classes: int = 10, channels: int = 1, image_size: int = 28, hidden: int = 128):
        super().__init__()
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size * image_size, hidden), nn.ReLU(),
                                nn.Linear(hidden, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)
