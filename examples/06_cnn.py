"""A convolutional network: convolution, ReLU, pooling, again, and a linear classifier on top.

Example 05 made its filters by hand. Here they begin as noise, and the same gradient descent as before shapes them,
since convolution has a backward like everything else. Pooling keeps the strongest answer of each neighbourhood: the
network then knows *that* there was an edge rather than at which pixel, and the next layer sees more of the image at
once.

The same script learns larger images: ``python examples/06_cnn.py --data mnist``, or ``fashion-mnist``.
"""

import argparse

import minivision as mv
from minivision import nn, pictures, training


def network(side: int) -> nn.Sequential:
    """For images of 1 x side x side; the shapes are those of side = 28."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),       # 1 x 28 x 28 -> 8 x 14 x 14
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),      # -> 16 x 7 x 7
        nn.Flatten(), nn.Linear(16 * (side // 4) ** 2, 10),              # -> 10 scores
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small CNN.")
    parser.add_argument("--data", choices=("digits", "mnist", "fashion-mnist"), default="digits")
    parser.add_argument("--epochs", type=int, default=None, help="10 for digits, 2 for the others")
    parser.add_argument("--limit", type=int, default=None, help="use only the first N training images")
    chosen = parser.parse_args()
    read = {"digits": mv.data.digits, "mnist": mv.data.mnist, "fashion-mnist": mv.data.fashion_mnist}[chosen.data]
    train, test = read(split="train").subset(slice(chosen.limit)), read(split="test")
    epochs = chosen.epochs or (10 if chosen.data == "digits" else 2)

    mv.manual_seed(0)
    model = network(train.images.shape[-1])
    print(model)
    loader = mv.data.DataLoader(train, batch_size=32, shuffle=True)
    optimizer = mv.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses, history = [], []
    for epoch in range(epochs):
        for images, labels in loader:
            loss = mv.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        score = training.evaluate(model, mv.data.DataLoader(test, 256))
        history.append({"test_accuracy": score.accuracy})
        print(f"epoch {epoch + 1:2}   {100 * score.accuracy:.1f} % of {len(test):,} test images right")

    with mv.no_grad():
        answers = [model(images).softmax(1) for images, _ in mv.data.DataLoader(test, 256)]
    path = pictures.output_folder() / f"06_cnn_{chosen.data}.png"
    pictures.training_result(
        path, title=f"A small CNN on {chosen.data}", losses=losses, history=history, weights=model[0].weight.numpy(),
        images=test.images, labels=test.labels, probabilities=mv.cat(answers).numpy(), class_names=test.classes)
    print(path)


if __name__ == "__main__":
    main()
