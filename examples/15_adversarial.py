"""Adversarial and fooling images: can the network be fooled?

A network is nearly linear in its pixels. Moved all at once, each by a step too small to see and to the side where the loss
grows, they change the answer (Goodfellow, Shlens and Szegedy 2015):

    x + eps * sign(d loss / d x)

The other way round, noise can be changed until the network is sure that it is something (Nguyen, Yosinski and Clune 2015).

What helps is to practise: a second network for digits is trained on images that are attacked anew in each step, against the
network as it is at that moment (Madry et al. 2018). The curves show how many held-out digits each of the two gets right when
every pixel may be moved by eps.

    python examples/15_adversarial.py                               a cat, if SqueezeNet's weights are here, else a digit
    python examples/15_adversarial.py --photo cat.jpg --target "sports car"
"""

import argparse
from pathlib import Path

import numpy as np

import minivision as mv
from minivision import explain, nn, pictures, training
from minivision.cli.networks import NAMES, Network, open_network
from minivision.cli.output import percent

WIDTH = 32                      # of the two networks for digits
EPOCHS, HARD_EPOCHS = 40, 80    # of plain training, and of training against attacks, which learns more slowly
EPS = 0.18                      # what the second one practises against
EPSILONS = (0.0, 0.03, 0.06, 0.09, 0.12, 0.16, 0.18, 0.21, 0.24)
SHOWN = 0.16                    # of the digits in the picture


def fooled(network: Network, image: np.ndarray, target: int) -> dict[str, np.ndarray]:
    """The image before and after an attack with its change between them, and noise that is taken for ``target``."""
    model, names = network.model, network.class_names

    def says(one: np.ndarray) -> str:
        answers = explain.probabilities(model, one[None])[0]
        return f"{names[answers.argmax()]}, {percent(float(answers.max()))}"

    own = int(explain.probabilities(model, image[None]).argmax())
    attack = explain.fgsm(model, image[None], [own], network.eps)
    noise = np.clip(0.5 + 0.1 * np.random.default_rng(0).standard_normal(image.shape), 0, 1).astype(np.float32)
    nothing = explain.fooling_image(model, noise, target, confidence=0.95)
    magnified = 0.5 / network.eps
    return {
        says(image): image,
        f"the change, {magnified:.3g} times as large": np.clip(0.5 + magnified * attack.perturbation[0], 0, 1),
        says(attack.images[0]): attack.images[0],
        f"noise, changed: {says(nothing.images[0])}": nothing.images[0],
    }


def digits_network(eps: float) -> nn.Module:
    """Trained on the digits, and if eps is above 0, on digits that are attacked in each step."""
    mv.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, 2 * WIDTH, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * WIDTH * 16, 128), nn.ReLU(), nn.Linear(128, 10))
    epochs = HARD_EPOCHS if eps else EPOCHS
    loader = mv.data.DataLoader(mv.data.digits("train"), 32 if eps else 64, shuffle=True, seed=0)
    optimizer = mv.optim.Adam(model.parameters(), 0.002)
    schedule = mv.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    if eps:
        trainer: training.Trainer = explain.AdversarialTrainer(model, loader, optimizer, eps, steps=4, schedule=schedule)
    else:
        trainer = training.Trainer(model, loader, optimizer, schedule)
    trainer.run(epochs)
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description="Fool a network, and train one that is harder to fool.")
    parser.add_argument("--photo", type=Path, help="any picture file (a sample picture)")
    parser.add_argument("--target", help="what the noise shall be taken for, by name or number (espresso; of digits 8)")
    parser.add_argument("--model", choices=NAMES, help="which network (squeezenet if its weights are here, else digits)")
    chosen = parser.parse_args()
    network = open_network(chosen.model)
    image = network.prepare(chosen.photo)
    target = network.find_class(chosen.target) if chosen.target else min(967, len(network.class_names) - 2)
    row = fooled(network, image, target)
    print("; ".join(row))

    test = mv.data.digits("test")
    x, y = test.images, test.labels
    networks = {"trained plainly": digits_network(0), f"trained against eps {EPS:g}": digits_network(EPS)}
    curves = {name: explain.robustness(model, x, y, EPSILONS, steps=20) for name, model in networks.items()}
    for name, curve in curves.items():
        print(f"{name:<24}" + "  ".join(f"eps {eps:.2f}: {100 * share:3.0f} %" for eps, share in zip(EPSILONS, curve)))
    few = slice(0, 5)
    attacked = {name: explain.pgd(model, x[few], y[few], SHOWN, steps=20).images for name, model in networks.items()}
    answers = {name: explain.probabilities(networks[name], images).argmax(1) for name, images in attacked.items()}

    path = pictures.output_folder() / "15_adversarial.png"
    draw(path, network, row, curves, attacked, answers, y)
    print(path)


def draw(path: Path, network: Network, row: dict[str, np.ndarray], curves: dict[str, np.ndarray],
         attacked: dict[str, np.ndarray], answers: dict[str, np.ndarray], labels: np.ndarray) -> None:
    with pictures.page(path, 13, 8.6, "Can it be fooled?", f"{network.name}, and below two networks for digits") as figure:
        for axes, (name, shown) in zip(pictures.rows_of(figure, (0.025, 0.47, 0.95, 0.40), 4, 4, 0.06), row.items()):
            pictures.show(axes, shown, limits=(0, 1))
            axes.set_title(name)

        colours = dict(zip(curves, (pictures.ORANGE, pictures.BLUE)))
        pictures.caption(figure, 0.025, 0.39, "How many digits it still gets right",
                         "if every pixel may be moved by eps: projected gradient descent, 20 steps, 360 held-out digits")
        axes = figure.add_axes((0.065, 0.075, 0.4, 0.285))
        for name, curve in curves.items():
            axes.plot(EPSILONS, 100 * curve, "o-", markersize=4, color=colours[name], label=name)
        axes.axvline(SHOWN, color=pictures.PALE, linewidth=0.8, linestyle=":")
        axes.set(xlabel="eps, of 1", ylabel="right, %", ylim=(0, 102))
        axes.grid(axis="y")
        axes.legend(loc="lower left")

        pictures.caption(figure, 0.54, 0.39, f"The same five digits, attacked with eps {SHOWN:g}",
                         "each against the network that is asked; in orange what it now gets wrong")
        for i, (name, images) in enumerate(attacked.items()):
            for j, axes in enumerate(pictures.rows_of(figure, (0.54, 0.185 - 0.175 * i, 0.44, 0.145), 5, 5, 0.1, 0.2)):
                wrong = answers[name][j] != labels[j]
                pictures.show(axes, images[j], limits=(0, 1), frame=pictures.ORANGE if wrong else None)
                axes.set_title(name if j == 0 else "", fontsize=9, pad=4)
                axes.set_xlabel(f"is {labels[j]}, says {answers[name][j]}", fontsize=8, labelpad=3,
                                color=pictures.ORANGE if wrong else pictures.INK)


if __name__ == "__main__":
    main()
