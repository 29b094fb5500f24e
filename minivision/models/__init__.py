"""Networks. Each maps images (N, C, H, W) with values in [0, 1] to scores (N, classes).

    small.py                LeNet-5 and others that are trained in a minute
    resnet.py               ResNet-20 for CIFAR-10 (He et al. 2016)
    squeezenet.py           SqueezeNet for ImageNet (Iandola et al. 2016)
    vgg.py                  VGG for ImageNet (Simonyan and Zisserman 2015)
    deep_compression.py     the reader of SqueezeNet's weights in 676 kilobytes
    base.py                 what all models share

Preprocessing beyond the range [0, 1] is part of each model: its first layer.
"""

from collections.abc import Callable

from .base import Model, Normalize
from .deep_compression import CompressedError, read_compressed
from .resnet import ResNet20
from .small import MLP, LeNet5, Linear, SmallCNN
from .squeezenet import SqueezeNet
from .vgg import VGG

# Those that `minivision train` builds by name.
MODELS: dict[str, Callable[..., Model]] = {"smallcnn": SmallCNN, "lenet5": LeNet5, "mlp": MLP, "linear": Linear}
