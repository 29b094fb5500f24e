"""The 3-layer network f = W3 max(0, W2 max(0, W1 x + b1) + b2) + b3, out of ``mv.nn``.

Going deeper is writing the same line once more: detectors of what the detectors detect. From here on the bookkeeping of
example 03 is left to the library. A *module* knows its parameters, an *optimiser* steps them all downhill, here with
momentum, which remembers the direction of the last steps as a rolling ball does. What the depth buys is seen in how
the network sorts its thoughts: the picture shows the second hidden layer's answers to test images, sorted by digit.
Images of one digit light up the same units, although nobody told the units what to look for.
"""

import numpy as np

import minivision as mv
from minivision import nn, pictures

EPOCHS = 20


def main() -> None:
    mv.manual_seed(0)
    train, test = mv.data.digits("train"), mv.data.digits("test")
    loader = mv.data.DataLoader(train, batch_size=32, shuffle=True)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(),             # max(0, W1 x + b1)
        nn.Linear(64, 32), nn.ReLU(),                           # max(0, W2 · + b2)
        nn.Linear(32, 10),                                      # W3 · + b3
    )
    print(model)
    optimizer = mv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    losses = []
    for epoch in range(EPOCHS):
        for images, labels in loader:
            loss = mv.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1:2}   loss {np.mean(losses[-len(loader):]):.4f}")

    order = np.argsort(test.labels, kind="stable")
    x = mv.Tensor(test.images[order])
    with mv.no_grad():
        right = (model(x).argmax(1).numpy() == test.labels[order]).mean()
        answers = model[:5](x).numpy()                          # of the second hidden layer, (N, 32)
    print(f"{100 * right:.1f} % of {len(test)} test images right")

    path = pictures.output_folder() / "04_three_layers.png"
    with pictures.page(path, 11, 5.6, "Three layers: f = W3 max(0, W2 max(0, W1 x + b1) + b2) + b3",
                       f"{100 * right:.1f} % of the test images right") as figure:
        pictures.caption(figure, 0.027, 0.765, "The loss", "of each step, and its running mean over an epoch")
        axes = figure.add_axes((0.07, 0.115, 0.33, 0.64))
        pictures.loss_curve(axes, losses, len(loader))
        pictures.caption(figure, 0.48, 0.765, "The 32 units of the second hidden layer",
                         "each column is a test image, sorted by digit; dark where a unit answers")
        axes = figure.add_axes((0.48, 0.115, 0.49, 0.64))
        by_digit = np.stack([answers[test.labels[order] == digit].mean(0) for digit in range(10)])
        by_unit = np.argsort(by_digit.argmax(0), kind="stable")          # a unit beside those that like the same digit
        axes.imshow(answers.T[by_unit], aspect="auto", cmap="Blues", vmax=np.percentile(answers, 99))
        middles = [np.flatnonzero(test.labels[order] == digit).mean() for digit in range(10)]
        axes.set_xticks(middles, [str(digit) for digit in range(10)])
        axes.tick_params(length=0)
        axes.set_yticks([])
        axes.set_xlabel("digit")
        axes.set_ylabel("unit")
    print(path)


if __name__ == "__main__":
    main()
