"""A trained model out of a checkpoint of ``minivision train``, with all that is needed to use it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ..data import Dataset
    from ..models import Model


@dataclass(frozen=True)
class Trained:
    """What a checkpoint holds, checked; ``model`` is in evaluation mode."""

    path: Path
    model: Model
    name: str                       # of the model, a key of models.MODELS
    data: str                       # a data set's name, or the path of a folder
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    settings: dict[str, Any]        # of the training run
    epoch: int                      # epochs that are done


def build(name: str, classes: int, channels: int, image_size: int) -> Model:
    """A new model of the register ``models.MODELS``."""
    from ..models import MODELS

    return MODELS[name](classes=classes, channels=channels, image_size=image_size)


def load_trained(path: str | Path) -> Trained:
    """Rebuild the model of a checkpoint and give it its weights.

    Raises:
        FileNotFoundError, CheckpointError: there is no such file, or it is no checkpoint of ``minivision train``.
    """
    from ..checkpoint import CheckpointError, load
    from ..models import MODELS

    state = load(path)
    about = state.get("about")
    wanted = {"model": str, "data": str, "class_names": list, "channels": int, "image_size": int, "settings": dict}
    if not (isinstance(about, dict) and isinstance(state.get("model"), dict) and isinstance(state.get("epoch"), int)):
        raise CheckpointError(f"{path} holds no training run; expected a checkpoint that `minivision train` wrote")
    wrong = [key for key, kind in wanted.items() if not isinstance(about.get(key), kind)]
    if wrong or about["model"] not in MODELS:
        raise CheckpointError(f"{path} does not say which model it is of ({', '.join(wrong) or about['model']!r}); "
                              "expected a checkpoint that `minivision train` wrote")
    stored = sum(value.size for value in state["model"].values() if hasattr(value, "size"))
    if not 1 <= about["channels"] <= stored or not 1 <= about["image_size"] ** 2 <= 16 * stored:
        raise CheckpointError(f"{path} speaks of {about['channels']} channels and {about['image_size']} pixels, which its "
                              f"{stored} weights cannot be for; the file is damaged")
    try:
        model = build(about["model"], len(about["class_names"]), about["channels"], about["image_size"])
        model.load_state_dict(state["model"])
    except ValueError as problem:
        raise CheckpointError(f"{path}: {problem}") from problem
    model.eval()
    return Trained(Path(path), model, about["model"], about["data"], tuple(map(str, about["class_names"])),
                   about["channels"], about["image_size"], about["settings"], state["epoch"])


def probabilities(model: Any, images: Dataset, what: str = "testing") -> np.ndarray:
    """The model's probability of each class for each image, float32 (N, classes), in evaluation mode."""
    import numpy as np

    from .. import functional as F
    from ..autograd import no_grad
    from ..data import DataLoader
    from ..training import device_of_model, evaluating
    from .output import progress

    rows = []
    with progress(len(images), what, "image") as bar, evaluating(model), no_grad():
        for batch, _ in DataLoader(images, 256):
            rows.append(F.softmax(model(batch.to(device_of_model(model))), 1).numpy())
            bar.update(len(batch))
    return np.concatenate(rows)
