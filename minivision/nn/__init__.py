"""Modules, layers and losses, by PyTorch's names.

    module.py       what a module is: parameters, state, modes, hooks
    learned.py      layers with weights
    applied.py      layers without weights, and losses
    sequential.py   one layer after the other, with norms, ReLUs and pools joined to the layers before them
"""

from .applied import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Dropout,
    Flatten,
    LeakyReLU,
    MaxPool2d,
    MSELoss,
    ReLU,
    Sigmoid,
    Tanh,
    Upsample,
)
from .learned import BatchNorm2d, Conv2d, ConvTranspose2d, InstanceNorm2d, Linear
from .module import Handle, LoadedNames, ModelMismatchError, Module, Parameter
from .sequential import Sequential, normalized, pooled, rectified, side_by_side
