"""ResNet-20 for CIFAR-10: layers that learn what to add to their input."""

from __future__ import annotations

from .. import functional as F
from .. import nn
from ..tensor import Tensor
from .base import IMAGENET_MEAN, IMAGENET_STD, Model, Normalize


class BasicBlock(nn.Module):
    """relu(x + f(x)), where f is two 3x3 convolutions with batch normalisation.

    Where f halves the image, the shortcut takes every second pixel and fills up with channels of zeros: it has nothing to
    learn (He et al. 2016, section 3.3, option A).
    """

    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.stride, self.missing = stride, (filters - channels) // 2

    def forward(self, x: Tensor) -> Tensor:
        y = nn.normalized(self.conv2, self.bn2, nn.normalized(self.conv1, self.bn1, x, relu=True))
        if self.stride > 1:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.missing, self.missing))
        return F.add_relu(x, y)


class ResNet20(Model):
    """Three stages of three blocks, 16, 32 and 64 filters wide (He et al. 2016, section 4.2); 269,722 parameters.

    Images are RGB, 32 x 32. The published weights get 91.7 % of CIFAR-10's test images right.
    """

    def __init__(self, classes: int = 10):
        super().__init__()
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.normalized(self.conv1, self.bn1, self.normalize(x), relu=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))
