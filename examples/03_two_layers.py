"""The 2-layer network f = W2 max(0, W1 x + b1) + b2, out of plain Tensors.

A linear classifier has one template per class. Put max(0, ·) between two linear maps, and the first becomes a set of
detectors, of which each answers only when it sees something, and the second weighs their answers: a class may now
have as many templates as it needs. max(0, ·) is all that keeps the two maps from collapsing into one, since W2 (W1 x)
is only another W x. No layers are used below, so that every step is in sight; example 04 says the same with
``mv.nn``.
"""

import numpy as np

import minivision as mv
from minivision import pictures

HIDDEN, EPOCHS, LR = 64, 30, 0.2


def main() -> None:
    mv.manual_seed(0)
    train, test = mv.data.digits("train"), mv.data.digits("test")
    loader = mv.data.DataLoader(train, batch_size=32, shuffle=True)

    # Small random numbers, so that the detectors differ; /sqrt(inputs) keeps their answers of ordinary size.
    W1 = mv.Tensor(mv.randn(HIDDEN, 64).data * np.float32((2 / 64) ** 0.5), requires_grad=True)
    b1 = mv.zeros(HIDDEN, requires_grad=True)
    W2 = mv.Tensor(mv.randn(10, HIDDEN).data * np.float32((2 / HIDDEN) ** 0.5), requires_grad=True)
    b2 = mv.zeros(10, requires_grad=True)

    def f(x: mv.Tensor) -> mv.Tensor:
        hidden = mv.maximum(0.0, x.flatten(1) @ W1.T + b1)      # (N, 64) -> (N, HIDDEN)
        return hidden @ W2.T + b2                               # (N, HIDDEN) -> (N, 10)

    losses = []
    for epoch in range(EPOCHS):
        for images, labels in loader:
            loss = mv.functional.cross_entropy(f(images), labels)
            loss.backward()
            for p in (W1, b1, W2, b2):
                p.data -= LR * p.grad.data
                p.grad = None
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2}   loss {np.mean(losses[-len(loader):]):.4f}")

    with mv.no_grad():
        right = (f(mv.Tensor(test.images)).argmax(1).numpy() == test.labels).mean()
    learned = sum(p.size for p in (W1, b1, W2, b2))
    print(f"{100 * right:.1f} % of {len(test)} test images right, with {learned:,} numbers learned")

    path = pictures.output_folder() / "03_two_layers.png"
    with pictures.page(path, 11, 5.6, "Two layers: f = W2 max(0, W1 x + b1) + b2",
                       f"{HIDDEN} detectors of 8 x 8 weights; {100 * right:.1f} % of the test images right") as figure:
        pictures.caption(figure, 0.027, 0.765, "The loss", "of each step, and its running mean over an epoch")
        axes = figure.add_axes((0.07, 0.115, 0.42, 0.64))
        pictures.loss_curve(axes, losses, len(loader))
        pictures.caption(figure, 0.56, 0.765, "What the detectors look for: the rows of W1",
                         "blue positive, red negative")
        for row, cell in zip(W1.data, pictures.rows_of(figure, (0.56, 0.03, 0.42, 0.725), HIDDEN, 8, 0.12)):
            pictures.show_weights(cell, row.reshape(8, 8))
    print(path)


if __name__ == "__main__":
    main()
