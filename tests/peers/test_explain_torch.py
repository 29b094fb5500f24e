"""Looking into networks, against the same loops in PyTorch and against recorded results of the published networks."""

import json
from pathlib import Path

import numpy as np
import pytest
from torch_peer import torch

import minivision as mv
from minivision import explain, models, nn

GOLDEN = Path(__file__).parent.parent / "golden" / "explain.npz"


@pytest.fixture(scope="module")
def both():
    """The small network of the recorded results, here and in PyTorch, and images for it; float64."""
    with np.load(GOLDEN) as file:
        golden = dict(file)
    weights = {name.removeprefix("model."): value for name, value in golden.items() if name.startswith("model.")}
    ours = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(),
                         nn.Linear(72, 5)).to(dtype="float64")
    ours.load_state_dict(weights)
    layers = torch.nn
    theirs = layers.Sequential(
        layers.Conv2d(3, 4, 3, padding=1), layers.ReLU(), layers.MaxPool2d(2), layers.Conv2d(4, 6, 3), layers.ReLU(),
        layers.Flatten(), layers.Linear(72, 5)).double()
    theirs.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return ours.eval(), theirs.eval(), golden["x"]


def test_ten_steps_of_deepdream(both):
    ours, theirs, x = both
    rng = np.random.default_rng(0)
    shifts = [tuple(map(int, rng.integers(-3, 4, 2))) for _ in range(10)]
    mine, image = x[:1], torch.tensor(x[:1])
    for shift in shifts:
        mine = explain.dream.dream_step(ours, mine, "3", step=0.01, shift=shift)
        rolled = torch.roll(image, shift, (2, 3)).requires_grad_()
        activation = theirs[:4](rolled)
        activation.backward(activation.detach())
        step = rolled.grad * (0.01 / rolled.grad.abs().mean())
        image = torch.roll((rolled.detach() + step).clamp(0, 1), (-shift[0], -shift[1]), (2, 3))
    np.testing.assert_allclose(mine, image.numpy(), atol=1e-9)


def test_targeted_attacks_and_smoothed_gradients(both):
    ours, theirs, x = both
    y = torch.tensor([1, 0, 2, 3])
    image = torch.tensor(x)
    for _ in range(5):
        image.requires_grad_()
        loss = torch.nn.functional.cross_entropy(theirs(image), y)
        (gradient,) = torch.autograd.grad(loss, image)
        image = torch.clamp(image.detach() - 0.02 * gradient.sign(), torch.tensor(x) - 0.05, torch.tensor(x) + 0.05).clamp(0, 1)
    found = explain.pgd(ours, x, y.numpy(), 0.05, 0.02, 5, random_start=False, targeted=True)
    np.testing.assert_allclose(found.images, image.numpy(), atol=1e-12)


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_squeezenet_gives_the_recorded_scores_and_gradients(real_data, name):
    data = pytest.importorskip("skimage.data")
    folder = real_data / "squeezenet-v1.0"
    model = models.SqueezeNet("1.0")
    model.load_weights(folder / "compressed_SqueezeNet.net")
    model.eval()
    top, left = json.loads((folder / "derived" / "golden.json").read_text())[name]["crop_top_left"]
    crop = getattr(data, name)()[top:top + 227, left:left + 227].astype(np.float32).transpose(2, 0, 1)[None] / 255
    x = mv.tensor(crop, requires_grad=True)
    scores = model(x)
    with np.load(folder / "derived" / "golden.npz") as golden:
        expected, gradient = golden[f"{name}_logits"], golden[f"{name}_input_grad_argmax_stride8"]
    np.testing.assert_allclose(scores.numpy()[0], expected, rtol=1e-3, atol=1e-3)
    scores[0, int(expected.argmax())].backward()
    ours = x.grad.numpy()[0, ::-1, ::8, ::8] / 255          # recorded for blue, green, red of 0 to 255
    close = np.isclose(ours, gradient, rtol=1e-3, atol=1e-3 * np.abs(gradient).max())
    assert close.mean() > 0.995                             # a ReLU at its kink may fall to the other side
    assert np.linalg.norm(ours - gradient) < 1e-2 * np.linalg.norm(gradient)
