"""The finish line: the student's own operations in place of the engine's, and a network trained on them.

Nothing of the engine knows of this. Its public functions look their operations up by name (``ops.Conv2d.apply``), and for
as long as the training runs, the name stands for the student's class, behind an adapter that brings the arguments into the
form of the exercise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..data import DataLoader, digits
from ..models import SmallCNN
from ..optim import SGD
from ..random import manual_seed
from ..training import Trainer, evaluate
from .course import file_of
from .state import Progress
from .track import find
from .work import Work

LR, MOMENTUM, BATCH = 0.05, 0.9, 32


class Part(NamedTuple):
    """An operation that can be a student's: the exercise, its class, and where the engine has its own."""

    exercise: str
    student: str
    where: ModuleType
    name: str
    adapter: Callable[[Any], Callable[..., Any]]


def _conv(student: Any) -> Callable[..., Any]:
    def apply(x: Any, w: Any, *bias: Any, stride: Any, padding: Any, **_: Any) -> Any:
        y = student.apply(x, w, stride=stride[0], padding=padding[0])
        return y + bias[0].reshape(1, -1, 1, 1) if bias else y

    return apply


def _pool(student: Any) -> Callable[..., Any]:
    def apply(x: Any, kernel_size: Any, stride: Any, padding: Any, **_: Any) -> Any:
        return student.apply(x, size=kernel_size[0], stride=stride[0], padding=padding[0])

    return apply


def _plain(student: Any) -> Callable[..., Any]:
    return student.apply


PARTS = (
    Part("im2col", "Conv2d", ops.conv, "Conv2d", _conv),
    Part("max_pool", "MaxPool2d", ops.pool, "MaxPool2d", _pool),
    Part("relu", "ReLU", ops.elementwise, "Relu", _plain),
    Part("linear", "Linear", ops.linear, "Linear", _plain),
    Part("cross_entropy", "CrossEntropy", ops.loss, "CrossEntropy", _plain),
)


def _apart(where: ModuleType, name: str) -> Callable[[Any], Callable[..., Any]]:
    """The operation ``name``, then ReLU, and then max pooling if there is a ``pool``, each whosever it is by then."""
    def apply(*inputs: Any, pool: Any = None, **options: Any) -> Any:
        y = ops.elementwise.Relu.apply(getattr(where, name).apply(*inputs, **options))
        return y if pool is None else ops.pool.MaxPool2d.apply(y, **pool)

    return lambda _: apply


JOINED = (                           # operations of the engine that are made of several of these
    Part("", "", ops.conv, "Conv2dReluMaxPool", _apart(ops.conv, "Conv2d")),
    Part("", "", ops.conv, "Conv2dRelu", _apart(ops.conv, "Conv2d")),
    Part("", "", ops.linear, "LinearRelu", _apart(ops.linear, "Linear")),
)
STEP = "momentum"                    # the exercise whose SGD takes the steps


class _StudentSGD(SGD):
    """The student's SGD in the engine's place: it works on the arrays of the parameters."""

    def __init__(self, student: Any, params: Any, lr: float, momentum: float):
        super().__init__(params, lr=lr, momentum=momentum)
        self.theirs = student([p.numpy() for p in self.params], lr, momentum)

    def step(self) -> None:
        self.theirs.step([np.zeros(p.shape, p.dtype) if p.grad is None else p.grad.numpy() for p in self.params])


@contextmanager
def _instead(part: Part, student: Any) -> Iterator[None]:
    """The student's operation under the engine's name, for the length of a with block."""
    original = getattr(part.where, part.name)
    setattr(part.where, part.name, type(part.name, (), {"apply": staticmethod(part.adapter(student))}))
    try:
        yield
    finally:
        setattr(part.where, part.name, original)


def finish(progress: Progress, epochs: int) -> int:
    """Train the digits' network twice, on the engine's operations and on the student's, and print both results.

    Returns:
        0 if the student's reach the engine's accuracy within 2 points, else 1.

    Raises:
        ValueError: none of the operations is passed yet, or ``epochs`` is below 1.
    """
    if epochs < 1:
        raise ValueError(f"got --epochs {epochs}, expected at least 1")
    students = {}
    for name, student in [(part.exercise, part.student) for part in PARTS] + [(STEP, "SGD")]:
        item = find(name)
        if name in progress.passed:
            path = file_of(progress, item)
            students[name] = getattr(Work(str(path), path.read_text(encoding="utf-8-sig")).fresh_module(), student)
        whose = "yours" if name in students else f"the engine's (yours would be exercise {name})"
        print(f"  {student:14} {whose}")
    if not students:
        raise ValueError("no operation is passed yet that a network is made of; the first are relu, linear and cross_entropy")
    manual_seed(0)
    reference, seconds = _train(epochs, {})
    mine, my_seconds = _train(epochs, students)
    print(f"{'':16}{'right on held-out digits':>26}{'seconds':>10}")
    print(f"{'the engine':16}{100 * reference:>24.1f} %{seconds:>10.1f}")
    print(f"{'yours':16}{100 * mine:>24.1f} %{my_seconds:>10.1f}")
    good = mine >= reference - 0.02
    if good and len(students) == len(PARTS) + 1:
        print("every operation of this network is yours: you have written a deep-learning engine")
    elif not good:
        print("yours learns less well; `minivision exercises verify` says whether all of it is still right")
    return 0 if good else 1


def _train(epochs: int, students: dict[str, Any]) -> tuple[float, float]:
    """Accuracy on the held-out digits, and the seconds of training, the compilation of kernels left out."""
    manual_seed(0)
    model = SmallCNN(image_size=8)
    loader = DataLoader(digits("train"), BATCH, shuffle=True, seed=0)
    optimizer = (_StudentSGD(students[STEP], model.parameters(), LR, MOMENTUM) if STEP in students
                 else SGD(model.parameters(), lr=LR, momentum=MOMENTUM))
    with ExitStack() as stack:
        for part in PARTS:
            if part.exercise in students:
                stack.enter_context(_instead(part, students[part.exercise]))
        for part in JOINED if students else ():
            stack.enter_context(_instead(part, None))
        images, _ = next(iter(loader))
        model(images).sum().backward()                 # compiles what is not compiled yet
        optimizer.zero_grad()
        start = time.perf_counter()
        Trainer(model, loader, optimizer).run(epochs)
        seconds = time.perf_counter() - start
        score = evaluate(model, DataLoader(digits("test"), 64))
    return score.accuracy, seconds
