"""Training does not collect memory: what one step needed is free in the next."""

import os
import subprocess
import sys

import pytest

import minivision as mv

CODE = """
import gc, os, sys
import numpy as np
import minivision as mv
from minivision import functional as F, nn, optim

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

mv.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1),
                      nn.Flatten(), nn.Linear(8 * 8 * 8, 10))
sgd = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
images, labels = mv.randn(16, 1, 16, 16), mv.tensor(np.arange(16) % 10)
gc.disable()                      # memory must come back by itself, without the collector
for step in range(1000):
    loss = F.cross_entropy(model(images), labels)
    sgd.zero_grad()
    loss.backward()
    sgd.step()
    if step % 10 == 0:
        abandoned = model(images)  # a graph that never runs backward
        del abandoned
    if step == 100:
        before = resident()
print((resident() - before) / 1e6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_thousand_steps_leave_memory_flat():
    one_thread = {**os.environ, "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}      # small kernels: no use for more
    out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, env=one_thread).stdout
    assert float(out) < 10, f"{float(out):.1f} MB more after 900 steps"


@pytest.mark.parametrize("last", [True, False])
def test_a_small_gradient_does_not_keep_a_large_one_alive(last):
    """Both are parts of one array, that of the joined tensor; whoever comes first is copied, and the other must be too."""
    small, large = mv.ones(4, requires_grad=True), mv.ones(3000, requires_grad=True)
    (mv.cat([large, small] if last else [small, large]) * mv.ones(3004) * 2).sum().backward()
    array = small.grad.numpy()
    owner = array if array.base is None else array.base
    assert owner.nbytes == 16
