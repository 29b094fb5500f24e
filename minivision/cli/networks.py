"""The networks that can be looked into: SqueezeNet where its weights are, else one trained on the digits on the spot."""

from __future__ import annotations

import difflib
import errno
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ..models import Model

NAMES = ("squeezenet", "resnet20", "digits")
HOW = ("the network for the 1000 classes of ImageNet is not here; `minivision data fetch squeezenet` brings its weights "
       "(676 KB), and then photographs are looked at. Until then: a network for handwritten digits")
SIDE, SHORT = 227, 256          # SqueezeNet's images, and the shorter side that a photo is scaled to before it is cut
LONGEST = 8                     # shorter sides; a longer picture has nothing to show, and takes gigabytes when it is enlarged
CLASSES = 1000                  # of ImageNet
EPOCHS = 12


@dataclass(frozen=True)
class Network:
    """A network in evaluation mode, and what to show it."""

    name: str
    model: Model
    class_names: tuple[str, ...]
    cam_layer: str                                  # the last layer with pixels
    dream_layer: str
    eps: float                                      # a change of a pixel that is enough to fool it
    ground: float                                   # what a pixel shows when nothing is there
    prepare: Callable[[Any], np.ndarray]            # a photo (its path, or None for a sample) as (C, H, W) in [0, 1]
    whole: Callable[[Any], np.ndarray]              # the same without cutting, for dreams
    gallery: Callable[[], np.ndarray]               # images (N, C, H, W) to look for things in

    def find_class(self, text: str) -> int:
        """A class by its number or name; a part of a name will do if it is of one class only.

        Raises:
            ValueError: there is none, or there are several; they are named.
        """
        if text.isdecimal():
            if int(text) < len(self.class_names):
                return int(text)
            raise ValueError(f"there is no class {text}; {self.name} has 0 to {len(self.class_names) - 1}")
        names = [name.lower() for name in self.class_names]
        if text.lower() in names:
            return names.index(text.lower())
        parts = [i for i, name in enumerate(names) if text and text.lower() in name]
        if len(parts) == 1:
            return parts[0]
        near = [names[i] for i in parts] or difflib.get_close_matches(text.lower(), names, n=4, cutoff=0.4) or names[:4]
        raise ValueError(f"there {'are several classes' if parts else 'is no class'} {text!r}; did you mean "
                         f"{', '.join(near[:6])}?")


def add_network(parser: Any) -> None:
    """The arguments PHOTO, --model and --root."""
    from .arguments import add_root

    parser.add_argument("photo", nargs="?", metavar="PHOTO", help="any picture file (a sample picture)")
    parser.add_argument("--model", choices=NAMES, help="which network (squeezenet if its weights are here, else digits)")
    add_root(parser)


def open_network(name: str | None = None, root: str | None = None) -> Network:
    """The network of that name; without one, SqueezeNet if its weights are here, else the digits', and a word on that.

    Raises:
        FileNotFoundError: the weights of the one that was asked for are not here.
    """
    from ..data import data_root

    folder = data_root(root)
    if name is None:
        name = "squeezenet" if _squeezenet_file(folder) else "digits"
        if name == "digits":
            print(HOW, file=sys.stderr)
    return {"squeezenet": _squeezenet, "resnet20": _resnet20, "digits": _digits}[name](folder)


def _squeezenet_file(folder: Path) -> Path | None:
    path = folder / "squeezenet-v1.0" / "compressed_SqueezeNet.net"
    return path if path.is_file() else None


def _squeezenet(folder: Path) -> Network:
    from .. import models

    path = _squeezenet_file(folder)
    if path is None:
        raise FileNotFoundError(f"SqueezeNet's weights are not in {folder}; `minivision data fetch squeezenet` brings them")
    names = _class_names(path.parent / "imagenet-simple-labels.json")
    model = models.SqueezeNet("1.0")
    model.load_weights(path)
    model.eval()

    def prepare(photo: Any) -> np.ndarray:
        image = _photo(photo)
        top, left = ((length - SIDE) // 2 for length in image.shape[:2])
        return _planes(image[top:top + SIDE, left:left + SIDE])

    return Network("SqueezeNet", model, tuple(names), "features.12", "features.8", 2 / 255, 0.5, prepare,
                   lambda photo: _planes(_photo(photo, 320)), lambda: _samples(prepare))


def _class_names(path: Path) -> list[str]:
    """The names of ImageNet's 1000 classes."""
    from ..data import DataError

    again = f"`minivision data fetch squeezenet` brings {path}"
    try:
        names, why = json.loads(path.read_text(encoding="utf-8")), ""
    except FileNotFoundError:
        raise FileNotFoundError(f"the names of the classes are not here; {again}") from None
    except ValueError as problem:
        names, why = None, f" ({problem})"
    if not isinstance(names, list) or len(names) != CLASSES or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} is not a list of {CLASSES} names{why}; delete it, and {again} again")
    return names


def _resnet20(folder: Path) -> Network:
    from .. import models, vision

    path = folder / "resnet20-cifar10" / "resnet20.safetensors"
    path = path if path.is_file() else path.parent / "derived" / path.name
    if not path.is_file():
        raise FileNotFoundError(f"ResNet-20's weights are not in {folder}; `minivision data fetch resnet20` says how they come "
                                "there")
    model = models.ResNet20()
    model.load_weights(path)
    model.eval()
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

    def prepare(photo: Any) -> np.ndarray:
        image = _photo(photo, 64)
        top, left = ((length - 64) // 2 for length in image.shape[:2])
        return _planes(vision.resize(image[top:top + 64, left:left + 64], (32, 32)))

    return Network("ResNet-20", model, names, "layer3", "layer2", 2 / 255, 0.5, prepare,
                   lambda photo: _planes(_photo(photo, 128)), lambda: _samples(prepare))


def _digits(folder: Path) -> Network:
    """A network that is trained the first time it is asked for, in some seconds, and kept in the user's cache."""
    from minivision_kernels.cpu.cache import root

    from .. import data, models
    from ..checkpoint import CheckpointError, save

    path = root() / "networks" / "digits.safetensors"
    model: Model = models.SmallCNN(10, 1, 8)
    try:
        model.load_weights(path)
    except (OSError, CheckpointError, ValueError):
        model = _train_digits()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save(model.state_dict(), path)
        except OSError as problem:
            print(f"the digits network cannot be kept in {path.parent} ({problem.strerror}) and will be trained anew each "
                  "time; MINIVISION_CACHE names another folder", file=sys.stderr)
    model.eval()

    def prepare(photo: Any) -> np.ndarray:
        import numpy as np

        if photo is None:
            return np.asarray(data.digits("test")[0][0], np.float32)
        from . import predict
        from .trained import Trained

        about = Trained(path, model, "smallcnn", "digits", tuple("0123456789"), 1, 8, {}, EPOCHS)
        return predict.prepare(photo, about)[0]

    return Network("the digits network", model, tuple("0123456789"), "features.4", "features.2", 0.2, 0.0, prepare, prepare,
                   lambda: data.digits("test").images)


def _train_digits() -> Model:
    from .. import data, models, optim
    from ..random import manual_seed
    from ..training import Trainer
    from .output import progress

    manual_seed(0)
    images = data.digits("train")
    model = models.SmallCNN(10, 1, 8)
    trainer = Trainer(model, data.DataLoader(images, 32, shuffle=True, seed=0), optim.Adam(model.parameters(), 0.002))
    with progress(EPOCHS * len(images), "training on the digits, once", "image") as bar:
        trainer.run(EPOCHS, on_step=lambda now: bar.update(now.images))
    return model


def _photo(photo: Any, short: int = SHORT) -> np.ndarray:
    """The picture as uint8 RGB, scaled so that its shorter side has ``short`` pixels."""
    from .. import vision

    image = vision.sample("chelsea") if photo is None else vision.imread(photo, "rgb")
    if max(image.shape[:2]) > LONGEST * min(image.shape[:2]):
        raise ValueError(f"{photo} is {image.shape[0]} x {image.shape[1]}; one side may be {LONGEST} times the other at most, "
                         "so cut a part out")
    scale = short / min(image.shape[:2])
    return vision.resize(image, (max(short, round(image.shape[0] * scale)), max(short, round(image.shape[1] * scale))))


def _samples(prepare: Callable[[Any], np.ndarray]) -> np.ndarray:
    """The photographs that come with the package, each as a network takes it."""
    import numpy as np

    from ..vision.sample import FOLDER, SAMPLES

    return np.stack([prepare(FOLDER / f"{name}.jpg") for name in SAMPLES])


def _planes(image: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32) / 255


def output_path(given: str | None, photo: str | None, what: str, suffix: str = ".png") -> Path:
    """The picture to write: ``given``, or one in runs/WHAT named after the photo. To be asked before the work begins.

    Raises:
        ValueError: it is called as another kind of picture, or is a folder.
        OSError: nothing can be written there.
    """
    path = Path(given) if given else Path("runs", what) / f"{Path(photo).stem if photo else 'sample'}-{what}{suffix}"
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it that ends in {suffix}")
    if path.suffix.lower() != suffix:
        raise ValueError(f"{path} would hold a picture of another kind than its name says; let it end in {suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "nothing can be written there", str(path.parent))
    return path
