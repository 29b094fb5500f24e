"""The checks of the chapter on learning."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....data import digits
from ...work import Failure, Work

Arrays = list[np.ndarray]
SHAPES = ((3, 4), (4,), (2, 3, 1))


def draw(seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) for shape in SHAPES]


def unchanged(work: Work, grads: Arrays, seed: int, method: str) -> None:
    for i, (grad, before) in enumerate(zip(grads, draw(seed))):
        if not np.array_equal(grad, before):
            work.fail(f"{method} changed the gradient number {i}, which belongs to the caller; write g + ... and not g += ..., "
                      "and keep no second name for it", "input changed", evidence=tuple(grads))


def moved(work: Work, params: Arrays, expected: Arrays, before: Arrays, what: str) -> None:
    if all(np.array_equal(p, b) for p, b in zip(params, before)) and not all(map(np.array_equal, expected, before)):
        work.fail(f"{what}: no parameter has moved. `p = p - ...` makes a new array and forgets it; `p -= ...` or p[...] = ... "
                  "changes the one that the network holds", "nothing has moved")
    for i, (p, right) in enumerate(zip(params, expected)):
        try:
            work.same(f"{what}, parameter {i}", p, right)
        except Failure as problem:
            # All parameters are the evidence, so that mistakes that show in a later one can be told apart.
            problem.evidence = tuple(np.asarray(q, float) for q in params)
            raise


# ---------------------------------------------------------------------------------------------- sgd

def check_sgd(work: Work) -> None:
    with work.stage("one step"):
        params, grads = draw(0), draw(1)
        work.get("step")(params, grads, 0.1, 0.0)
        unchanged(work, grads, 1, "step")
        moved(work, params, [p - 0.1 * g for p, g in zip(draw(0), draw(1))], draw(0), "without weight decay, lr 0.1")
    with work.stage("weight decay"):
        params, grads = draw(0), draw(1)
        work.get("step")(params, grads, 0.1, 0.5)
        unchanged(work, grads, 1, "step")
        moved(work, params, [p - 0.1 * (g + 0.5 * p) for p, g in zip(draw(0), draw(1))], draw(0), "weight decay 0.5, lr 0.1")
    with work.stage("float32 stays float32"):
        p = np.ones((2, 2), np.float32)
        work.get("step")([p], [np.ones((2, 2), np.float32)], 0.5, 0.0)
        work.same("a float32 parameter", p, np.full((2, 2), 0.5, np.float32))
    work.note("ten steps from 1 towards the bottom of x^2 (curvature 2, so that lr must stay below 1):")
    for lr in (0.05, 0.45, 0.95, 1.05):
        x, path = np.ones(1), [1.0]
        for _ in range(10):
            work.get("step")([x], [2 * x], lr, 0.0)
            path.append(float(x[0]))
        work.note(f"  lr {lr:<4} " + " ".join(f"{value:6.3f}" for value in path))


# ---------------------------------------------------------------------------------------------- momentum

def rolled(steps: int, lr: float, momentum: float, decay: float, later_lr: float | None = None) -> Arrays:
    """Where the parameters are after so many steps with gradients draw(1), draw(2), ...: from the sum that the recursion is.

    The velocity of step t is the sum over s <= t of momentum ** (t - s) * d[s].
    """
    params, ds = draw(0), []
    for t in range(steps):
        ds.append([g + decay * p for g, p in zip(draw(t + 1), params)])
        rate = lr if later_lr is None or t == 0 else later_lr
        velocities = [sum((momentum ** (t - s) * ds[s][i] for s in range(t + 1)), np.zeros(shape))
                      for i, shape in enumerate(SHAPES)]
        params = [p - rate * v for p, v in zip(params, velocities)]
    return params


def run_sgd(work: Work, steps: int, lr: float, momentum: float, decay: float, later_lr: float | None = None) -> Arrays:
    params = draw(0)
    optimizer = work.get("SGD")(params, lr, momentum=momentum, weight_decay=decay)
    given = []
    for t in range(steps):
        given.append(draw(t + 1))
        optimizer.step(given[-1])
        if later_lr is not None:
            optimizer.lr = later_lr
        for s, grads in enumerate(given):
            late = ", which was not even given it," if s < t else ""
            unchanged(work, grads, s + 1, f"step number {t + 1}{late}")
    return params


def check_momentum(work: Work) -> None:
    cases: dict[str, tuple[int, float, float, float, float | None]] = {        # steps, lr, momentum, decay, later lr
        "plain": (2, 0.1, 0.0, 0.0, None), "first step": (1, 0.1, 0.9, 0.0, None), "momentum": (4, 0.1, 0.9, 0.0, None),
        "weight decay": (3, 0.1, 0.9, 0.5, None), "a new lr": (3, 0.1, 0.9, 0.0, 0.01)}
    for name, case in cases.items():
        with work.stage(name):
            steps, lr, momentum, decay, later = case
            then = "" if later is None else f", then {later:g}"
            what = f"after {steps} step{'s' * (steps > 1)} with lr {lr}{then}, momentum {momentum}, weight decay {decay}"
            moved(work, run_sgd(work, *case), rolled(*case), draw(0), what)
    with work.stage("two optimisers"):
        first, second = [np.zeros(2)], [np.zeros(2)]
        one, other = (work.get("SGD")(p, 1.0, momentum=0.5) for p in (first, second))
        for optimizer in (one, other, one, other):
            optimizer.step([np.ones(2)])
        work.same("two steps of 1 and 1.5, of an optimiser beside another one", second[0], np.array([-2.5, -2.5]))
    with work.stage("a valley"):
        counts = [_steps_down(work, momentum) for momentum in (0.0, 0.9)]
    work.note("a valley 100 times as steep across as along, lr 0.018; steps until 1/1000 of the height is left:")
    for momentum, count in zip((0.0, 0.9), counts):
        work.note(f"  momentum {momentum}: {count:4} {'#' * (count // 8)}")


def _steps_down(work: Work, momentum: float) -> int:
    """How many steps until the height is and stays below a thousandth of that of the start."""
    curvature, steps = np.array([1.0, 100.0]), 300
    x = np.array([1.0, 0.1])
    optimizer = work.get("SGD")([x], 0.018, momentum=momentum)
    heights = [curvature @ x ** 2]
    for _ in range(steps):
        optimizer.step([curvature * x])
        heights.append(curvature @ x ** 2)
    return int(np.flatnonzero(np.array(heights) >= heights[0] / 1000)[-1]) + 1


# ---------------------------------------------------------------------------------------------- initialisation

SIZES = ((256, 64), (64, 256), (64, 32, 3, 3), (32, 16, 5, 3))


def check_initialisation(work: Work) -> None:
    with work.stage("values"):
        for shape in SIZES:
            w = work.get("he")(np.random.default_rng(0), shape)
            if not isinstance(w, np.ndarray) or w.shape != shape or w.dtype.kind != "f":
                got = f"{w.dtype} of shape {w.shape}" if isinstance(w, np.ndarray) else type(w).__name__
                work.fail(f"he(random, {shape}) returned {got}, expected floats of shape {shape}", "wrong shape")
            _spread(work, w, shape)
    with work.stage("a normal distribution"):
        w = work.get("he")(np.random.default_rng(1), (100, 100))
        beyond = float((np.abs(w) > 2 * w.std()).mean())
        if not 0.035 < beyond < 0.056:
            work.fail(f"{beyond:.1%} of the weights are beyond two standard deviations, of a normal distribution 4.6 % are; "
                      "draw with random.standard_normal", "not normal", evidence=(w[0],))
        if np.array_equal(w, work.get("he")(np.random.default_rng(2), (100, 100))):
            work.fail("two different generators give the same weights; draw from the `random` that is given", "not from random")
    with work.stage("twenty layers"):
        kept = through(work.get("he"))
    work.note("the spread of the numbers after 1, 5, 10, 15 and 20 layers of 256 with ReLU:")
    others = {"1 / fan_in": 256 ** -0.5, "std 0.01": 0.01, "std 0.2": 0.2}
    spreads = {name: through(lambda random, shape, std=std: random.standard_normal(shape) * std)
               for name, std in others.items()}
    for name, spread in {"yours": kept, **spreads}.items():
        work.note(f"  {name:10} " + "  ".join(f"{spread[k]:9.3g}" for k in (0, 4, 9, 14, 19)))


def _spread(work: Work, w: np.ndarray, shape: tuple[int, ...]) -> None:
    fan_in, fan_out, area = int(np.prod(shape[1:])), shape[0], int(np.prod(shape[2:]))
    right, got = (2 / fan_in) ** 0.5, float(np.sqrt((w ** 2).mean()))
    tolerance = 4 / (2 * w.size) ** 0.5                       # four standard errors of a standard deviation
    if abs(got / right - 1) < tolerance and abs(w.mean()) < 4 * right / w.size ** 0.5:
        return
    if abs(got / right - 1) < tolerance:
        work.fail(f"the weights of shape {shape} have mean {w.mean():.3g}, expected 0 within {4 * right / w.size ** 0.5:.1g}",
                  "the mean is not 0")
    known = {"1 / fan_in, without the 2 that makes up for ReLU": (1 / fan_in) ** 0.5,
             "2 / fan_out": (2 / fan_out) ** 0.5, "2 / (fan_out * area)": (2 / (fan_out * area)) ** 0.5,
             "2 / C: the area of the filter is forgotten": (2 / shape[1]) ** 0.5,
             "2 / (fan_in + fan_out), Glorot's": (2 / (fan_in + fan_out)) ** 0.5,
             "(2 / fan_in)^2: the weights were multiplied by the variance and not by its root": 2 / fan_in,
             "1: nothing scaled them": 1.0, "2 / all weights": (2 / w.size) ** 0.5}
    looks = [name for name, value in known.items() if abs(got / value - 1) < tolerance]
    hint = f". It looks like a variance of {looks[0]}" if looks else ""
    work.fail(f"the weights of shape {shape} have standard deviation {got:.4g}, expected sqrt(2 / {fan_in}) = {right:.4g} "
              f"within "
              f"{tolerance:.1%}{hint}", "the spread is wrong", evidence=(w.ravel()[:16],))


def through(he: Any) -> list[float]:
    """The root mean square of the numbers behind each of twenty layers."""
    random = np.random.default_rng(0)
    x, spread = random.standard_normal((64, 256)), []
    for _ in range(20):
        x = np.maximum(x @ he(random, (256, 256)).T, 0)
        spread.append(float(np.sqrt((x ** 2).mean())))
    return spread


# ---------------------------------------------------------------------------------------------- dropout

def mean_is_kept(work: Work) -> None:
    with work.stage("what is left"):
        layer = work.get("Dropout")()
        y = layer.forward(np.ones(100_000), 0.3, 5, True)
        if abs(y.mean() - 1) > 0.01:
            work.fail(f"the mean of 100,000 ones after dropout with p = 0.3 is {y.mean():.3f}, expected 1",
                      "the mean is not kept")
        work.note(f"of 100,000 ones {int((y == 0).sum()):,} were dropped; the mean is {y.mean():.4f}")


# ---------------------------------------------------------------------------------------------- training

class Recorder:
    """Stands in for the file's `loss_and_gradients` and writes down which samples it was asked about."""

    def __init__(self, original: Any):
        self.original = original
        self.batches: list[list[tuple[int, int]]] = []

    def __call__(self, params: Any, x: Any, labels: Any) -> Any:
        self.batches.append([(int(image[0]), int(label)) for image, label in zip(x, labels)])
        return self.original(params, x, labels)


def check_training(work: Work) -> None:
    count, size, epochs = 23, 5, 3
    with work.stage("the batches"):
        module = work.fresh_module()
        recorder = Recorder(module.loss_and_gradients)
        module.loss_and_gradients = recorder            # type: ignore[attr-defined]
        images = np.zeros((count, 64))
        images[:, 0] = np.arange(count)                # each image carries its number in its first pixel
        labels = np.arange(count) * 7 % 10
        params = module.initial(np.random.default_rng(0))
        losses = module.train(params, images, labels, np.random.default_rng(1), epochs, size, 0.0)
        _batches(work, recorder.batches, labels, count, size, epochs)
    with work.stage("the losses"):
        if not isinstance(losses, (list, tuple)) or len(losses) != epochs:
            work.fail(f"train returned {losses!r}, expected a list with the mean losses of {epochs} epochs", "wrong type")
        right = float(recorder.original(params, images, labels)[0])
        work.same(f"with lr 0 and batches of 5 and a last one of 3, the loss of each of {epochs} "
                  f"epochs", np.array(losses, float),
                  np.full(epochs, right))
    with work.stage("it learns"):
        _learns(work)


def _batches(work: Work, batches: list[list[tuple[int, int]]], labels: np.ndarray, count: int, size: int, epochs: int) -> None:
    what = f"with {count} samples, batch_size {size} and {epochs} epochs"
    apart = next(((image, label) for batch in batches for image, label in batch if labels[image] != label), None)
    if apart:
        work.fail(f"image number {apart[0]} came with the label {apart[1]}, but its label is {labels[apart[0]]}: images and "
                  "labels must be put in the same order", "labels apart")
    seen = [image for batch in batches for image, _ in batch]
    largest = max(map(len, batches), default=0)
    if largest > size:
        work.fail(f"{what}, a batch had {largest} samples", "wrong batch size")
    if len(seen) != count * epochs:
        text = f"{what}, {len(seen)} samples were looked at, expected {count * epochs}, in batches of {size}"
        if len(seen) == epochs * (count // size * size):
            text += f"; the last batch of {count % size} is left out"
        work.fail(text, "samples left out")
    rounds = [seen[k * count:(k + 1) * count] for k in range(epochs)]
    for k, order in enumerate(rounds):
        if sorted(order) != list(range(count)):
            twice = next(i for i in order if order.count(i) > 1)
            work.fail(f"{what}, epoch {k} looked at sample {twice} {order.count(twice)} times; each epoch sees each sample "
                      "once. A permutation does that, independent draws do not", "not a permutation")
    if rounds[0] == list(range(count)):
        work.fail("the samples came in the order in which they are stored; shuffle them", "no shuffling")
    if any(rounds[0] == order for order in rounds[1:]):
        work.fail("all epochs had the same order; draw a new one in each", "shuffled once only")


def _learns(work: Work) -> None:
    module: Any = work.fresh_module()
    train, test = digits("train"), digits("test")
    x, unseen = (part.images.reshape(len(part), -1).astype(float) for part in (train, test))
    params = module.initial(np.random.default_rng(0))
    before = [p.copy() for p in params]
    losses = module.train(params, x, train.labels, np.random.default_rng(0), 25, 32, 0.2)
    if all(map(np.array_equal, params, before)):
        work.fail("the parameters are what they were before; change them in place (p -= lr * g)", "nothing has moved")
    accuracy = float((module.scores(params, unseen).argmax(1) == test.labels).mean())
    curve = " ".join(f"{loss:.2g}" for loss in losses[::4])
    if not accuracy >= 0.93:
        hint = "; the loss grows: are the steps uphill?" if not losses[-1] < losses[0] else ""
        work.fail(f"after 25 epochs {accuracy:.1%} of the test digits are right, expected 93 % or more; the losses (every "
                  f"fourth epoch): "
                  f"{curve}{hint}", "it does not learn", evidence=(losses,))
    work.note(f"{accuracy:.1%} of 360 digits that it has never seen are right; the losses (every fourth epoch): {curve}")
