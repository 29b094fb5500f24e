"""The small network of the recorded results, with its weights, and images for it."""

from pathlib import Path

import numpy as np
import pytest

from minivision import nn

GOLDEN = Path(__file__).parent.parent / "golden" / "explain.npz"


@pytest.fixture(scope="session")
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture
def network(golden):
    """Float64, 3 x 12 x 10 pixels, 5 classes."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3), nn.ReLU(),
                          nn.Flatten(), nn.Linear(72, 5)).to(dtype="float64")
    model.load_state_dict({name.removeprefix("model."): value for name, value in golden.items() if name.startswith("model.")})
    model.eval()
    return model


@pytest.fixture
def x(golden):
    return golden["x"]


@pytest.fixture
def y(golden):
    return golden["y"]
