"""Kernels of one pass over memory: every address checked by the compiler's sanitizers, every barrier shown to be needed."""

import numpy as np
import pytest
from cuda_mistakes import sanitized, without_each

from minivision_kernels.cuda import batch_norm, cross_entropy, emulator

PROGRAM = """
import numpy as np
from minivision_kernels import ladder
from minivision_kernels.cuda import emulator

rng = np.random.default_rng(0)
def normal(*shape): return rng.standard_normal(shape).astype(np.float32)

def cases():
    for shape in ((2, 3, 5, 7), (1, 2, 4, 4), (3, 1, 48, 49)):
        N, C, H, W = shape
        x, c = normal(*shape), [normal(C) for _ in range(3)]
        yield "relu_forward", (x,)
        yield "relu_backward", (x, x)
        yield "add", (x, x)
        yield "add", (x, -x, True)
        yield "bias_add", (x.copy(), c[0])
        yield "bias_add", (x.ravel()[1:1 + C * 6].reshape(1, C, 6).copy(), c[0])
        yield "channel_affine", (x, c[0])
        yield "channel_affine", (x.ravel()[1:1 + C * 6].reshape(1, C, 6), c[0], c[1])
        yield "relu_bias_backward", (x, x)
        yield "channel_sum", (x,)
        yield "channel_sum", (x[:, :, 0, 0].copy(),)
        yield "batch_norm_forward", (x, c[0], c[1], 1e-5)
        yield "batch_norm_backward", (x, x, c[0], c[1], c[2] ** 2, 1e-5)
        for window in (((3, 2), (2, 3), (1, 1), (2, 1)), ((2, 2), (2, 2), (0, 0), (1, 1)), ((3, 3), (2, 2), (1, 1), (1, 1))):
            y, index = next(r for r in ladder("max_pool2d_forward") if r.name == "numpy")(x, *window, True)
            yield "max_pool2d_forward", (x, *window, True)
            yield "max_pool2d_backward", (y, index, shape, *window)
            if window[3] == (1, 1):
                yield "avg_pool2d_forward", (x, *window[:3], True, False, None)
                yield "avg_pool2d_backward", (y, shape, *window[:3], True, False, None)
    for N, C in ((1, 1), (9, 33), (2, 1100)):
        logits, labels = normal(N, C), np.arange(N) % C
        yield "cross_entropy_forward", (logits, labels)
        yield "cross_entropy_backward", (logits, labels, normal(N))
    for size in (1, 7, 1024, 1027):
        for start in (0, 1):                    # at a multiple of 16 bytes, or not
            a = [abs(normal(size + start))[start:] for _ in range(4)]
            yield "sgd_update", (*a[:3], 0.1, 0.9, 0.1, 0.01, False, False)
            yield "sgd_update", (*a[:2], None, 0.1, 0.0, 0.0, 0.0, False, True)
            yield "adam_update", (*a, 0.1, 0.9, 0.99, 1e-8, 0.01, 3)
            yield "adam_update", (*[(each, each[:size // 2].copy()) for each in a], 0.1, 0.9, 0.99, 1e-8, 0.01, 3)

done = set()
for op, arguments in cases():
    for rung in ladder(op):
        if rung.device == "cuda" and rung.name != "cupy":
            for order in ("forward", "backward"):
                with emulator.threads(order):
                    rung(*arguments)
            done.add((op, rung.name))
print("came to its end:", len(done), "rungs")
"""


def test_no_kernel_leaves_its_arrays():
    result = sanitized(PROGRAM)
    assert result.returncode == 0 and "came to its end: 32 rungs" in result.stdout, result.stdout + result.stderr[-3000:]


def variance(kernel):
    """Right if the statistics of a block's eight warps were joined when all of them were there."""
    x = np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    partial = np.zeros(2, np.float32)
    kernel.launch(1, 256, x, partial, (1, 1, 2000, 1, 2000))
    return np.allclose(partial, [x.mean(), ((x - x.mean()) ** 2).sum()], rtol=1e-3, atol=1e-5)


def loss(kernel):
    logits = np.random.default_rng(0).standard_normal((1, 2000)).astype(np.float32)
    losses = np.zeros(1, np.float32)
    kernel.launch(1, 256, logits, np.array([7]), losses, 2000)
    return np.allclose(losses, np.log(np.exp(logits).sum()) - logits[0, 7], rtol=1e-5)


@pytest.mark.parametrize("kernel, function, is_right", [
    (batch_norm._MOMENTS, "moments", variance), (cross_entropy._LOSSES["blocks"], "block_joined", loss),
])
def test_every_barrier_is_needed(tmp_path, kernel, function, is_right):
    def is_right_in(altered, order):
        with emulator.threads(order):
            try:
                return is_right(altered)
            except emulator.EmulatorError:
                return False

    assert all(is_right_in(kernel, order) for order in ("forward", "backward"))
    removed = list(without_each(kernel, function, tmp_path))
    assert len(removed) == 1
    for altered, what in removed:
        assert not all(is_right_in(altered, order) for order in ("forward", "backward")), f"is not missed: {what}"
