"""Training a cascade from pictures of faces and photos without any (Viola and Jones 2001).

Three ideas make it work, and each is a function here:

    haar_features    many simple questions. A feature is a difference between neighbouring rectangles: a dark stripe over the
                     eyes, a bright one down the nose. There are tens of thousands in a window of 20 x 20, and with an
                     integral image each costs a few additions, whatever its size.
    boost            few of them, chosen. Each round takes the question that best separates faces from the rest, as they
                     are weighted; then what it gets wrong counts more (AdaBoost; here its gentle form, Friedman, Hastie and
                     Tibshirani 2000, whose answers are means instead of votes).
    train_cascade    most windows need only the first few. A stage lets through nearly all faces and a part of the rest. The
                     next one is trained on what got through: its negatives are the false alarms of those before it, looked
                     for in the photos.

What comes out is a ``Cascade`` like those in OpenCV's files, and ``cascade_xml`` writes it as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from minivision_kernels import run
from minivision_kernels.cascades import Haar, Trees

from .cascade import scales
from .cascade_file import STAGE_EPSILON, Cascade

WINDOW = 20                     # pixels, both ways: the smallest size in which a face is still a face
HIT_RATE = 0.996                # of the faces, what a stage lets through at least
FALSE_ALARMS = 0.4              # of the rest, what it may let through
MOST_TREES = 80                 # in a stage
POOL = 1500                     # features that a stage chooses from, drawn anew for each
GRID = 1.25                     # the sizes in which photos are searched for false alarms
FLAT_BELOW = 10                 # grey levels of deviation: windows below are never looked at


# ------------------------------------------------------------------------------------------------ questions


def haar_features(size: int = WINDOW) -> tuple[np.ndarray, np.ndarray]:
    """All upright features of a window: rects int32 (K, 3, 4) of x, y, width, height, and weights float32 (K, 3).

    Two, three or four equal parts beside or above each other, of which every second one counts negative. Each is written as
    the whole rectangle, weighted -1, plus parts weighted so that the weighted areas cancel: an even patch gives 0.
    """
    rects, weights = [], []
    for across, down, parts, weight in (
        (2, 1, [(1, 0, 1, 1)], 2), (1, 2, [(0, 1, 1, 1)], 2), (3, 1, [(1, 0, 1, 1)], 3), (1, 3, [(0, 1, 1, 1)], 3),
        (2, 2, [(0, 0, 1, 1), (1, 1, 1, 1)], 2),
    ):
        for w in range(1, size // across + 1):
            for h in range(1, size // down + 1):
                for x in range(size - across * w + 1):
                    for y in range(size - down * h + 1):
                        inner = [(x + i * w, y + j * h, u * w, v * h) for i, j, u, v in parts]
                        rects.append([(x, y, across * w, down * h), *inner, *[(0, 0, 0, 0)] * (2 - len(inner))])
                        weights.append([-1, *[weight] * len(inner), *[0] * (2 - len(inner))])
    return np.array(rects, np.int32), np.array(weights, np.float32)


def feature_values(patches: np.ndarray, rects: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Every feature of every patch, float32 (K, N); patches are uint8 (N, size, size).

    A rectangle's sum is four corners of the integral image, so a feature is a product of the integral image with a row of
    few numbers, and all features of all patches are one matrix product. Values are divided by area times deviation, as the
    kernel ``cascade_haar`` does.
    """
    size = patches.shape[1]
    tables = np.zeros((len(patches), size + 1, size + 1), np.float32)
    tables[:, 1:, 1:] = patches.astype(np.float32).cumsum(1).cumsum(2)
    corners = np.zeros((len(rects), size + 1, size + 1), np.float32)
    rows = np.arange(len(rects))[:, None]
    x, y, w, h = np.moveaxis(rects, 2, 0)
    for yy, xx, sign in ((y, x, 1), (y, x + w, -1), (y + h, x, -1), (y + h, x + w, 1)):
        np.add.at(corners, (rows, yy, xx), sign * weights)
    values = corners.reshape(len(rects), -1) @ tables.reshape(len(patches), -1).T
    return values * norms(patches)


def norms(patches: np.ndarray) -> np.ndarray:
    """1 / (area * deviation) of each patch less its border; 0 for flat ones."""
    inner = patches[:, 1:-1, 1:-1].reshape(len(patches), (patches.shape[1] - 2) ** 2).astype(np.float64)
    deviation = inner.std(1)
    return np.where(deviation > FLAT_BELOW, 1 / (inner.shape[1] * np.maximum(deviation, 1)), 0).astype(np.float32)


# ------------------------------------------------------------------------------------------------ few of them, chosen


class Stage:
    """A list of stumps: feature, threshold, and the answers left (below it) and right; and what their sum must reach."""

    def __init__(self) -> None:
        self.features: list[int] = []
        self.thresholds: list[np.float32] = []
        self.leaves: list[tuple[np.float32, np.float32]] = []
        self.threshold = np.float32(0)


def boost(values: np.ndarray, faces: np.ndarray, enough: Callable[[Stage, np.ndarray], bool]) -> Stage:
    """Gentle AdaBoost over stumps: add the best one until ``enough(stage, sums)``.

    In every round each feature offers its best stump: below a threshold the answer is the weighted mean of the truth
    (+1 face, -1 not) there, and above it the mean there. The best is the one with the smallest weighted squared error. Then
    the weight of each example is multiplied by exp(-truth * answer).

    Args:
        values: float32 (K, N), the features of the examples. faces: bool (N,).
        enough: is told the stage so far and its sums (N,).
    """
    truth = np.where(faces, 1.0, -1.0)
    weight = np.where(faces, 0.5 / faces.sum(), 0.5 / (~faces).sum())
    order = np.argsort(values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    between = ranked[:, 1:] > ranked[:, :-1]                    # a threshold fits only between different values
    stage, sums = Stage(), np.zeros(len(truth))
    while True:
        weight /= weight.sum()
        w = weight.astype(np.float32)[order].cumsum(1)
        wy = (weight * truth).astype(np.float32)[order].cumsum(1)
        below, y_below = w[:, :-1], wy[:, :-1]
        above, y_above = w[:, -1:] - below, wy[:, -1:] - y_below
        # Squared error with the means as answers: 1 - (sum of w y below)^2 / (w below) - the same above.
        explained = np.where(between, y_below ** 2 / np.maximum(below, 1e-7) + y_above ** 2 / np.maximum(above, 1e-7), -1)
        feature, place = np.unravel_index(np.argmax(explained), explained.shape)
        threshold = np.float32((ranked[feature, place].astype(np.float64) + ranked[feature, place + 1]) / 2)
        left = values[feature] < threshold
        left_mean, right_mean = (np.float32(np.average(truth[side], weights=weight[side])) for side in (left, ~left))
        stage.features.append(int(feature))
        stage.thresholds.append(threshold)
        stage.leaves.append((left_mean, right_mean))
        said = np.where(left, left_mean, right_mean)
        sums += said
        weight *= np.exp(-truth * said)
        if enough(stage, sums):
            return stage


# ------------------------------------------------------------------------------------------------ stage by stage


def train_cascade(
    faces: np.ndarray, others: np.ndarray, photos: Sequence[np.ndarray], stages: int, seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Cascade:
    """A cascade of ``stages`` stages, or fewer if the photos run out of false alarms.

    Args:
        faces: uint8 (N, size, size), upright faces that fill the window; its size is even.
        others: uint8 (M, size, size), what is none, to begin with.
        photos: grey uint8 images without a face; false alarms are cut from them for every stage.
        seed: of the choice of features and of false alarms.
        tell: is given a line after each stage.
    """
    rng = np.random.default_rng(seed)
    rects, weights = haar_features(faces.shape[1])
    cascade: Cascade | None = None
    built: list[tuple[Stage, np.ndarray]] = []
    faces = faces[norms(faces) > 0]
    for number in range(stages):
        wanted = len(faces)
        found = others if cascade is None else others[passing(cascade, others)]
        negatives = np.concatenate([found, false_alarms(cascade, photos, max(wanted - len(found), 0), faces.shape[1], rng)])
        if len(negatives) < wanted // 10:
            tell(f"only {len(negatives)} false alarms are left: done")
            break
        pool = rng.choice(len(rects), min(POOL, len(rects)), replace=False)
        is_face = np.arange(len(faces) + len(negatives)) < len(faces)
        values = feature_values(np.concatenate([faces, negatives]), rects[pool], weights[pool])

        def enough(stage: Stage, sums: np.ndarray, is_face: np.ndarray = is_face) -> bool:
            """Set the threshold for the hit rate; enough if few of the others reach it."""
            ordered = np.sort(sums[is_face])
            stage.threshold = np.float32(ordered[int((1 - HIT_RATE) * len(ordered))] - 1e-4)
            return (sums[~is_face] >= stage.threshold).mean() <= FALSE_ALARMS or len(stage.features) == MOST_TREES

        stage = boost(values, is_face, enough)
        built.append((stage, pool))
        cascade = assemble(built, rects, weights, faces.shape[1])
        before = len(faces)
        faces = faces[passing(cascade, faces)]
        tell(f"stage {number + 1:2}: {len(stage.features):2} stumps; {len(faces)} of {before} faces and "
             f"{100 * passing(cascade, negatives).mean():.0f} % of {len(negatives)} others pass")
    if cascade is None:
        raise ValueError("train_cascade: the photos gave no negatives; expected at least one photo larger than the window")
    return cascade


def passing(cascade: Cascade, patches: np.ndarray) -> np.ndarray:
    """Which patches (N, size, size) the cascade takes for faces, bool (N,).

    They are laid in one column, so that one call looks at all of them; windows that lie across two patches are ignored.
    """
    if not len(patches):
        return np.zeros(0, np.bool_)
    size = patches.shape[1]
    sums, squares = run("window_sums", np.ascontiguousarray(patches).reshape(-1, size), False)
    rows = (len(patches) - 1) * size // 2 + 1
    passed = run("cascade_haar", sums, squares, cascade.features, cascade.trees, (size, size), 2, rows)
    return passed[::size // 2, 0] == len(cascade.trees.stage_thresholds)


def false_alarms(
    cascade: Cascade | None, photos: Sequence[np.ndarray], count: int, size: int, rng: np.random.Generator,
) -> np.ndarray:
    """``count`` patches that the cascade so far takes for faces, uint8 (n, size, size), or all there are if fewer."""
    share = -(-count // max(len(photos), 1)) * 4                # of one photo, so that all kinds of things are among them
    found = [np.zeros((0, size, size), np.uint8)]
    total = 0
    for i in rng.permutation(len(photos)):
        if total >= count:
            break
        patches = np.concatenate([found[0][:0], *_alarms_in(cascade, photos[i], size, share, rng)])
        patches = patches[rng.permutation(len(patches))[:share]]
        found.append(patches)
        total += len(patches)
    return np.concatenate(found)[:count]


def _alarms_in(
    cascade: Cascade | None, photo: np.ndarray, size: int, most: int, rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """The false alarms in one photo, size by size."""
    for scale in scales(photo.shape, (size, size), GRID):
        shrunk = run("shrink_exact", photo, scale.size)
        windows = np.lib.stride_tricks.sliding_window_view(shrunk, (size, size))
        if cascade is None:
            y, x = (rng.integers(0, n, most) for n in windows.shape[:2])
        else:
            sums, squares = run("window_sums", shrunk, False)
            passed = run("cascade_haar", sums, squares, cascade.features, cascade.trees, (size, size), 1, windows.shape[0])
            y, x = np.nonzero(passed == len(cascade.trees.stage_thresholds))
            some = rng.permutation(len(y))[:most]
            y, x = y[some], x[some]
        patches = windows[y, x]
        yield patches[norms(patches) > 0]


def assemble(built: Sequence[tuple[Stage, np.ndarray]], rects: np.ndarray, weights: np.ndarray, size: int) -> Cascade:
    """The stages as a cascade; each has the list of features that it chose from."""
    chosen = np.concatenate([pool[stage.features] for stage, pool in built])
    features, which = np.unique(chosen, return_inverse=True)
    count = len(chosen)
    nodes = np.stack([-1 - 2 * np.arange(count), -2 - 2 * np.arange(count), which], 1).astype(np.int32)
    ends = np.cumsum([0] + [len(stage.features) for stage, _ in built])
    trees = Trees(
        nodes=nodes, thresholds=np.array([t for stage, _ in built for t in stage.thresholds], np.float32),
        subsets=np.zeros((0, 8), np.int32),
        leaves=np.array([leaf for stage, _ in built for leaf in stage.leaves], np.float32).reshape(-1),
        roots=np.arange(count, dtype=np.int32), stages=ends.astype(np.int32),
        stage_thresholds=np.array([stage.threshold for stage, _ in built], np.float32) - STAGE_EPSILON)
    haar = Haar(rects[features], weights[features], np.zeros(len(features), np.bool_))
    return Cascade(size, size, haar, trees)


# ------------------------------------------------------------------------------------------------ a file of it


def cascade_xml(cascade: Cascade, comment: str) -> str:
    """The cascade of stumps as a file that OpenCV reads too, in the new form, with a comment at its head."""
    trees, counts = cascade.trees, np.diff(cascade.trees.stages)
    number = lambda value: repr(float(np.float32(value)))       # as many digits as bring the same float32 back
    lines = ['<?xml version="1.0"?>', f"<!-- {comment} -->", "<opencv_storage>",
             '<cascade type_id="opencv-cascade-classifier"><stageType>BOOST</stageType><featureType>HAAR</featureType>',
             f"<height>{cascade.height}</height><width>{cascade.width}</width>",
             f"<stageParams><maxWeakCount>{counts.max()}</maxWeakCount></stageParams>",
             f"<featureParams><maxCatCount>0</maxCatCount></featureParams><stageNum>{len(counts)}</stageNum>", "<stages>"]
    for stage, threshold in enumerate(trees.stage_thresholds):
        lines.append(f"<_><maxWeakCount>{counts[stage]}</maxWeakCount>"
                     f"<stageThreshold>{number(_undo_epsilon(threshold))}</stageThreshold><weakClassifiers>")
        for root in trees.roots[trees.stages[stage]:trees.stages[stage + 1]]:
            left, right, feature = trees.nodes[root]
            lines.append(f"<_><internalNodes>0 -1 {feature} {number(trees.thresholds[root])}</internalNodes><leafValues>"
                         f"{number(trees.leaves[-1 - left])} {number(trees.leaves[-1 - right])}</leafValues></_>")
        lines.append("</weakClassifiers></_>")
    lines += ["</stages>", "<features>"]
    for rects, weights in zip(cascade.features.rects, cascade.features.weights):        # type: ignore[union-attr]
        parts = "".join(f"<_>{x} {y} {w} {h} {weight:g}.</_>" for (x, y, w, h), weight in zip(rects, weights) if weight)
        lines.append(f"<_><rects>{parts}</rects><tilted>0</tilted></_>")
    return "\n".join([*lines, "</features></cascade>", "</opencv_storage>", ""])


def _undo_epsilon(threshold: np.float32) -> np.float32:
    """The number that lies the reader's epsilon above ``threshold``, to the last bit."""
    near = np.float32(threshold + STAGE_EPSILON)
    for candidate in (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))):
        if np.float32(candidate - STAGE_EPSILON) == threshold:
            return candidate
    return near
