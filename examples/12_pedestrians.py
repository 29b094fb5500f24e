"""People found in a photo, by a detector trained from nothing: HoG, a linear classifier, and its own mistakes.

A window of 64 x 128 pixels becomes 3,780 numbers, its histograms of oriented gradients. A linear classifier gives each of
them a weight; a window whose weighted sum is positive is a person. The weights are found as always here: a loss, its
gradient, a step. The loss is the hinge of a support vector machine, max(0, 1 - y score): a window on the right side by 1
or more costs nothing.

What makes the detector good is a second round. The first one is let loose on pictures without people; every window it
takes for a person is a *hard negative* and joins the training set (Dalal and Triggs 2005, section 4).

    python examples/12_pedestrians.py                       with the windows in $MINIVISION_DATA/inria-person-subset
    python examples/12_pedestrians.py --photo street.jpg    draws boxes into a photo of your own
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

import minivision as mv
from minivision import pictures, vision

EPOCHS = 12
BATCH = 64
ROUNDS = 2                      # of training; before each but the first the detector's mistakes are added
ENLARGED = (1.0, 1.25, 1.6, 2.0)        # how much negatives are enlarged, for more windows than one to be cut from each
DECAY = 1e-2                    # of the weights, so that no single edge decides


def read(folder: Path) -> list[np.ndarray]:
    return [vision.imread(path, mode="rgb") for path in sorted(folder.iterdir())]


def mirrored(images: list[np.ndarray]) -> list[np.ndarray]:
    return [*images, *(np.ascontiguousarray(image[:, ::-1]) for image in images)]


def enlarged(image: np.ndarray, factor: float) -> np.ndarray:
    from PIL import Image

    size = round(image.shape[1] * factor), round(image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def describe(images: list[np.ndarray]) -> np.ndarray:
    """Every window of every image, eight pixels apart, as a row of 3,780 numbers."""
    return np.concatenate([vision.HOGDescriptor().compute(image) for image in images])


def train(people: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The weights and the bias of a linear support vector machine: (3781,) float32."""
    x = np.concatenate([people, others])
    y = np.concatenate([np.ones(len(people)), -np.ones(len(others))]).astype(np.float32)
    share = np.where(y > 0, len(others) / len(x), len(people) / len(x)).astype(np.float32) * 2      # both sides count alike
    weight = mv.zeros((x.shape[1], 1), requires_grad=True)
    bias = mv.zeros((1,), requires_grad=True)
    optimizer = mv.optim.SGD([weight, bias], lr=0.1, momentum=0.9)
    rng = np.random.default_rng(0)
    for epoch in range(EPOCHS):
        optimizer.lr = 0.1 * (1 - epoch / EPOCHS)
        order = rng.permutation(len(x))
        for chosen in np.array_split(order, -(-len(x) // BATCH)):
            score = (mv.Tensor(x[chosen]) @ weight + bias).reshape(-1)
            hinge = mv.relu(1 - mv.Tensor(y[chosen]) * score)
            loss = (mv.Tensor(share[chosen]) * hinge).mean() + 0.5 * DECAY * (weight * weight).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return np.append(weight.numpy().reshape(-1), bias.numpy())


def curve(people: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision, and false positives per window, for every threshold from high to low."""
    scores = np.concatenate([people, others])
    is_person = np.arange(len(scores)) < len(people)
    is_person = is_person[np.argsort(-scores, kind="stable")]
    right, wrong = np.cumsum(is_person), np.cumsum(~is_person)
    return right / len(people), right / (right + wrong), wrong / len(others)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a pedestrian detector and let it look at a photo.")
    parser.add_argument("--root", type=Path, default=Path(os.environ.get("MINIVISION_DATA", "data")),
                        help="the folder with inria-person-subset (MINIVISION_DATA, else data)")
    parser.add_argument("--photo", type=Path, help="where to look for people (the street scene that comes with the windows)")
    chosen = parser.parse_args()
    root = chosen.root / "inria-person-subset"
    if not (root / "positive").is_dir() or not (root / "negative").is_dir():
        parser.error(f"{root} holds no folders positive and negative with windows of 64 x 128 pixels; name their parent's "
                     "folder with --root")
    photo = vision.imread(chosen.photo or root / "opencv-hog" / "road.png", mode="rgb")

    start = time.perf_counter()
    people, others = read(root / "positive"), read(root / "negative")
    held = [[image for i, image in enumerate(images) if i % 5 == 4] for images in (people, others)]
    seen = [mirrored([image for i, image in enumerate(images) if i % 5 != 4]) for images in (people, others)]
    positives, negatives = describe(seen[0]), describe(seen[1])
    scenes = describe([enlarged(image, factor) for image in seen[1] for factor in ENLARGED[1:]])
    print(f"{len(positives)} windows with people, {len(negatives)} without, {len(scenes):,} more to be mistaken about")
    for number in range(ROUNDS):
        detector = train(positives, negatives)
        hard = scenes[scenes @ detector[:-1] + detector[-1] > -0.5]
        print(f"round {number + 1}   {len(hard)} windows without people near or beyond the threshold")
        negatives = np.concatenate([negatives, hard])
    seconds = time.perf_counter() - start

    test_people = describe(held[0])
    test_others = describe([enlarged(image, factor) for image in mirrored(held[1]) for factor in ENLARGED])
    recall, precision, false = curve(*(test @ detector[:-1] + detector[-1] for test in (test_people, test_others)))
    reached = recall[false <= 1e-2].max()
    print(f"held-out fifth: {100 * reached:.1f} % of {len(test_people)} people found at 1e-2 false positives per window "
          f"({len(test_others):,} windows); trained in {seconds:.1f} s")

    finder = vision.HOGDescriptor()
    finder.set_svm_detector(detector)
    boxes, scores = finder.detect_multi_scale(photo, hit_threshold=0.3, padding=(16, 16), group_threshold=0)
    kept = vision.nms(boxes, scores, iou_threshold=0.3)
    path = pictures.output_folder() / "12_pedestrians.png"
    draw(path, detector, (recall, precision, false), reached, vision.draw_boxes(photo, boxes[kept], thickness=3), len(kept))
    print(path)


def draw(path: Path, detector: np.ndarray, curves: tuple[np.ndarray, np.ndarray, np.ndarray], reached: float,
         photo: np.ndarray, count: int) -> None:
    recall, precision, false = curves
    subtitle = (f"a linear classifier on HoG, trained with hinge loss and hard negatives; {100 * reached:.0f} % of the "
                "held-out people found at one false alarm in 100 windows")
    with pictures.page(path, 12, 8, "A pedestrian detector", subtitle) as figure:
        axes = figure.add_axes((0.06, 0.57, 0.25, 0.27))
        axes.step(recall, precision, where="post", color=pictures.BLUE)
        axes.set(title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
        axes.grid(True)
        axes = figure.add_axes((0.06, 0.13, 0.25, 0.27))
        axes.step(np.maximum(false, 1e-4), recall, where="post", color=pictures.BLUE)
        axes.axvline(1e-2, color=pictures.ORANGE, linewidth=1)
        axes.set(title="Recall and false alarms", xlabel="false positives per window", ylabel="recall", xscale="log",
                 xlim=(1e-3, 1), ylim=(0.5, 1.01))
        axes.grid(True)
        axes = figure.add_axes((0.34, 0.1, 0.19, 0.74))
        axes.set_title("What speaks for a person")
        pictures.show(axes, glyphs(detector))
        axes = figure.add_axes((0.55, 0.1, 0.43, 0.74))
        axes.set_title(f"{count} found" if count else "Nobody found")
        pictures.show(axes, photo.transpose(2, 0, 1))


def glyphs(detector: np.ndarray) -> np.ndarray:
    """The positive weights of a detector as a picture, each cell the sum over the blocks it is part of."""
    blocks = np.maximum(detector[:3780], 0).reshape(7, 15, 2, 2, 9).transpose(1, 0, 3, 2, 4)
    cells = np.zeros((16, 8, 9), np.float32)
    for i in range(2):
        for j in range(2):
            cells[i:i + 15, j:j + 7] += blocks[:, :, i, j]
    return vision.hog_image(cells, (24, 24))


if __name__ == "__main__":
    main()
