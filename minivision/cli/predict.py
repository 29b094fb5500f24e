"""Ask a trained network what is on a picture of your own: one that `minivision train` made, or SqueezeNet, which knows the
1000 classes of ImageNet.

The picture is turned upright as the camera recorded it, made grey or RGB, and scaled as the network's training
pictures were. A digit drawn dark on bright paper is inverted and cut out first, since the network knows bright ink on
black only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_device, add_root
from .networks import NAMES
from .output import blocks, percent
from .sources import INK_ON_BLACK

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from .trained import Trained

HELP = "ask a trained network what is on a picture"
EXAMPLE = """\
example:
  minivision predict my-seven.jpg                         with runs/digits-smallcnn/model.safetensors
  minivision predict *.png --checkpoint runs/mnist-smallcnn/model.safetensors
  minivision predict cat.jpg --model squeezenet           after `minivision data fetch squeezenet`"""

DEFAULT = Path("runs", "digits-smallcnn", "model.safetensors")
BEST = 5                    # answers shown
FILL = {"digits": 1.0, "mnist": 20 / 28, "fashion-mnist": 1.0}      # how much of an image its authors let a thing fill
FAINT = 0.35                # of the darkest ink; below this it is paper, or its shadow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help="any picture file")
    parser.add_argument("--checkpoint", metavar="PATH",
                        help=f"model.safetensors that `minivision train` wrote ({DEFAULT})")
    parser.add_argument("--model", choices=NAMES,
                        help="a network by name (without a checkpoint squeezenet, or digits if its weights are not here)")
    add_device(parser)
    add_root(parser)


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from .. import functional as F
    from ..autograd import no_grad
    from ..tensor import Tensor
    from .trained import load_trained

    if arguments.model and arguments.checkpoint:
        raise ValueError("--model and --checkpoint name two networks; leave one of them out")
    if arguments.model or (arguments.checkpoint is None and not DEFAULT.exists()):
        return _by_name(arguments)
    trained = load_trained(arguments.checkpoint or DEFAULT)
    prepared = [prepare(path, trained) for path in arguments.pictures]      # all of them: a bad one is told first
    with no_grad():
        pictures = Tensor(np.stack([image for image, _ in prepared])).to(arguments.device)
        answers = F.softmax(trained.model.to(arguments.device)(pictures), 1).numpy()
    width = max(map(len, trained.class_names))
    for path, (_, notes), shares in zip(arguments.pictures, prepared, answers):
        _tell(f"{path}   {', '.join(notes)}", shares, trained.class_names, width)
    return 0


def _tell(heading: str, shares: np.ndarray, class_names: Sequence[str], width: int) -> None:
    import numpy as np

    print(heading)
    for label in np.argsort(-shares, kind="stable")[:BEST]:
        print(f"  {class_names[label]:<{width}}  {blocks(float(shares[label]), 24)} {percent(float(shares[label])):>7}")


def _by_name(arguments: argparse.Namespace) -> int:
    """The answers of a network that comes by its name, or of the one there is."""
    import numpy as np

    from ..explain import probabilities
    from .networks import open_network

    network = open_network(arguments.model, arguments.root)
    answers = probabilities(network.model, np.stack([network.prepare(path) for path in arguments.pictures]))
    width = max(len(network.class_names[label]) for shares in answers for label in np.argsort(-shares)[:BEST])
    for path, shares in zip(arguments.pictures, answers):
        _tell(f"{path}   {network.name}", shares, network.class_names, width)
    return 0


def prepare(path: str | Path, trained: Trained) -> tuple[np.ndarray, list[str]]:
    """A picture as the network wants it, and in words what was done to it.

    Returns:
        float32 (C, H, W) in [0, 1]; notes such as "480 x 640" and "inverted (its border is bright)".

    Raises:
        ValueError, OSError: it is no picture, or cannot be decoded.
    """
    import numpy as np
    from PIL import Image

    picture = open_picture(path)
    notes = [f"{picture.width} x {picture.height}"]
    side = trained.image_size
    if trained.channels == 1:
        grey = np.asarray(picture.convert("L"), np.float32) / 255
        if trained.data in INK_ON_BLACK:
            if np.median(_border(grey)) > 0.5:
                grey = 1 - grey
                notes.append("inverted (its border is bright)")
            if grey.shape != (side, side):
                grey = _cut_out(grey, side, FILL[trained.data], path)
                notes.append(f"cut out and scaled to {side} x {side}")
        if grey.shape != (side, side):
            grey = np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BOX))
            notes.append(f"scaled to {side} x {side}")
        return np.clip(grey, 0, 1)[None], notes
    picture = picture.convert("RGB")
    if picture.size != (side, side):
        # Bilinear with antialiasing and without keeping the proportions, as ImageFolder scales the training pictures.
        picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        notes.append(f"scaled to {side} x {side}")
    return np.asarray(picture, np.float32).transpose(2, 0, 1) / 255, notes


def open_picture(path: str | Path) -> Image:
    """The decoded picture, upright; transparent parts become white paper."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is a folder, expected a picture file" if Path(path).is_dir() else
                                f"there is no file {path}; check the path")
    try:
        with Image.open(path) as opened:
            picture: Image.Image = ImageOps.exif_transpose(opened)
            if picture.mode[0] in "IF":         # I;16, I, F: converting would cut at 255 and say nothing
                raise ValueError(f"{path} has pixels of more than 8 bits (Pillow mode {picture.mode}); save it "
                                 "with 8 bits per channel first")
            if picture.has_transparency_data:
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
            return picture.convert("RGB") if picture.mode not in ("L", "RGB") else picture.copy()
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that Pillow can read") from None
    except ValueError:
        raise
    except Exception as problem:                # decoders raise what they please: SyntaxError, struct.error, ...
        raise ValueError(f"{path} cannot be decoded: {problem}") from problem


def _border(grey: np.ndarray) -> np.ndarray:
    import numpy as np

    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _cut_out(grey: np.ndarray, side: int, fill: float, path: str | Path) -> np.ndarray:
    """The ink alone, scaled with its proportions to ``fill`` of a black square, its centre of mass in the middle.

    That is how the digits of MNIST were prepared (LeCun et al. 1998, section III-A). Without it a small digit on a
    large sheet would shrink to a dot.
    """
    import numpy as np
    from PIL import Image

    ground = np.median(_border(grey))
    ink = np.clip(grey - ground, 0, None)
    ink /= max(float(ink.max()), 1e-6)
    marked = ink > FAINT
    if not marked.any():
        raise ValueError(f"{path} is blank: nothing on it is brighter or darker than its border")
    ink[ink < FAINT / 2] = 0                    # the paper's grain
    rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
    ink = ink[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    scale = fill * side / max(ink.shape)
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX))

    square = np.zeros((side, side), np.float32)
    top, left = (_place(ink.sum(1), side), _place(ink.sum(0), side)) if fill < 1 else (
        (side - height) // 2, (side - width) // 2)
    square[top:top + height, left:left + width] = ink
    return square


def _place(mass: np.ndarray, side: int) -> int:
    """Where a strip with that ``mass`` along it begins, for its centre of mass to be in the middle of ``side``."""
    import numpy as np

    centre = float((mass * (np.arange(len(mass)) + 0.5)).sum() / max(float(mass.sum()), 1e-6))
    return int(np.clip(round(side / 2 - centre), 0, side - len(mass)))
