"""The linear score: f(x) = W x + b, and what the rows of W look like.

An image is a long vector of numbers, and a classifier gives one score to each class; the highest wins. The simplest
score multiplies every pixel by a weight and adds them up. So each row of W has one weight per pixel: it is an image
itself, a *template* that says which ink speaks for the class (blue) and which against it (red). A linear classifier
can learn one template for each class and no more: where a digit is written in two ways, it learns a blur of both.
"""

import numpy as np

import minivision as mv
from minivision import pictures


def main() -> None:
    mv.manual_seed(0)
    train, test = mv.data.digits("train"), mv.data.digits("test")
    x = mv.Tensor(train.images.reshape(-1, 64))                 # N x 64: each image one row
    W = mv.zeros(10, 64, requires_grad=True)                    # a template for each of the ten digits
    b = mv.zeros(10, requires_grad=True)

    for _ in range(300):                                        # learn W and b; example 02 looks at how
        loss = mv.functional.cross_entropy(x @ W.T + b, train.labels)
        W.grad = b.grad = None
        loss.backward()
        W.data -= 1.0 * W.grad.data
        b.data -= 1.0 * b.grad.data

    with mv.no_grad():
        scores = (mv.Tensor(test.images.reshape(-1, 64)) @ W.T + b).numpy()
    right = (scores.argmax(1) == test.labels).mean()
    print(f"templates of 8 x 8 weights, one per digit: {100 * right:.1f} % of {len(test)} test images right")

    first = 0
    print(f"\nthe scores of one image, a {test.labels[first]}:")
    for digit in np.argsort(-scores[first]):
        print(f"  {digit}  {scores[first, digit]:6.2f}" + ("   <- the highest, so the answer" if digit ==
                                                           scores[first].argmax() else ""))

    path = pictures.output_folder() / "01_linear_score.png"
    with pictures.page(path, 10, 5.6, "The linear score f = W x + b",
                       "one image, its ten scores, and the ten templates, which are the rows of W") as figure:
        pictures.caption(figure, 0.03, 0.80, f"The image x, a {test.labels[first]}")
        pictures.show(figure.add_axes((0.03, 0.46, 0.19, 0.33)), test.images[first], limits=(0, 1))
        bars = figure.add_axes((0.33, 0.49, 0.63, 0.30))
        pictures.caption(figure, 0.33, 0.80, "Its scores f(x)")
        best = scores[first].argmax()
        colours = [pictures.BLUE if k == best else pictures.LIGHT_BLUE for k in range(10)]
        bars.bar(range(10), scores[first], color=colours)
        bars.axhline(0, color=pictures.PALE, linewidth=0.8)
        bars.set_xticks(range(10))
        bars.set_xlabel("digit")
        bars.grid(axis="y")
        pictures.caption(figure, 0.03, 0.25, "The templates", "blue: ink here speaks for the digit; red: against it")
        for k, axes in enumerate(pictures.rows_of(figure, (0.03, 0.06, 0.94, 0.18), 10, 10, 0.15)):
            pictures.show_weights(axes, W.data[k].reshape(8, 8))
            axes.set_xlabel(str(k), labelpad=3)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
