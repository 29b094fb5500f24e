"""Gradient descent written out by hand: first with the limit, then with the chain rule.

To make a loss smaller, ask for each weight: if I nudged it a little, would the loss rise or fall? The slope that
answers this is a limit, (f(w + h) - f(w)) / h for small h, and nothing keeps us from computing just that. It is
correct, and hopeless: the loss must be computed again for every single weight. Backward finds all the slopes at once,
for about the price of computing the loss twice. Both roads go down the same hill; the two losses printed side by side
show it.
"""

import time

import numpy as np

import minivision as mv
from minivision import pictures

STEPS, LR, H = 12, 1.0, 1e-5


def main() -> None:
    train = mv.data.digits("train").subset(slice(200))
    x, labels = train.images.reshape(-1, 64).astype(np.float64), train.labels     # float64, for the small h

    def f(w: mv.Tensor) -> mv.Tensor:
        """The loss of the linear classifier with the weights w (10, 64)."""
        return mv.functional.cross_entropy(mv.Tensor(x) @ w.T, labels)

    def numeric_gradient(w: mv.Tensor) -> np.ndarray:
        """The limit, one weight after the other."""
        with mv.no_grad():
            here, slopes = f(w).item(), np.empty(w.shape)
            for i in np.ndindex(w.shape):
                old = w.data[i]
                w.data[i] = old + H
                slopes[i] = (f(w).item() - here) / H
                w.data[i] = old
        return slopes

    def backward_gradient(w: mv.Tensor) -> np.ndarray:
        """The chain rule, all weights at once."""
        w.grad = None
        f(w).backward()
        return w.grad.data

    losses, seconds = {}, {}
    for name, gradient in (("numeric gradient", numeric_gradient), ("backward", backward_gradient)):
        w = mv.Tensor(np.zeros((10, 64)), requires_grad=True)
        losses[name], begin = [], time.perf_counter()
        for _ in range(STEPS):
            losses[name].append(f(w).item())
            w.data -= LR * gradient(w)                          # downhill: against the slope
        seconds[name] = time.perf_counter() - begin

    print(f"step   {'numeric gradient':>16}   {'backward':>16}")
    for step, (slow, fast) in enumerate(zip(*losses.values()), 1):
        print(f"{step:4}   {slow:16.10f}   {fast:16.10f}")
    slow, fast = seconds.values()
    print(f"time   {slow:14.2f} s   {fast:14.4f} s   {w.size} weights: backward is {slow / fast:,.0f} times as fast")

    path = pictures.output_folder() / "02_gradient_descent.png"
    with pictures.page(path, 8, 5, "One hill, two ways to feel its slope",
                       f"{w.size} weights, {STEPS} steps: the limit {slow:.2f} s, backward {fast:.4f} s") as figure:
        axes = figure.add_axes((0.1, 0.13, 0.85, 0.66))
        steps = range(1, STEPS + 1)
        axes.plot(steps, losses["numeric gradient"], color=pictures.LIGHT_BLUE, linewidth=7, label="numeric gradient")
        axes.plot(steps, losses["backward"], "o-", color=pictures.BLUE, markersize=4, label="backward")
        axes.set_xlabel("step")
        axes.set_ylabel("loss (cross-entropy)")
        axes.grid(axis="y")
        axes.legend()
    print(path)


if __name__ == "__main__":
    main()
