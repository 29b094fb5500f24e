"""A cascade's windows on the GPU: the answers of the definition, bit for bit."""

import numpy as np
import pytest
import test_cascade_kernels as cpu
from cuda_mistakes import sanitized
from cuda_oracle import PLACES, Placed, cuda_rungs

from minivision.vision.cascade_file import parse_cascade

places = pytest.mark.parametrize("place", PLACES)


def cases(kind, count):
    """Rungs' arguments: windows of all proportions, images barely larger than one and wider ones, steps of 1 and of 2."""
    rng = np.random.default_rng(0)
    for number in range(count):
        width, height = int(rng.integers(4, 20)), int(rng.integers(4, 20))
        text = (cpu.lbp_xml(rng, width, height, 3) if kind == "lbp" else
                cpu.haar_xml(rng, width, height, 3, trees=kind == "haar"))
        cascade = parse_cascade(text.encode())
        image = cpu.picture(rng, height + int(rng.integers(0, 9)), width + int(rng.integers(0, 90)) * (number % 3))
        if number == 0:
            image[:] = 90
        sums, squares = cpu.by_name("window_sums", "numpy")(image, True)
        arrays = (sums,) if kind == "lbp" else (sums, squares)
        for step in (1, 2):
            rows = len(range(0, image.shape[0] - height + 1, step))
            yield (*arrays, cascade.features, cascade.trees, (height, width), step, rows)


@places
@pytest.mark.parametrize("kind", ["haar", "stumps", "lbp"])
def test_the_same_answers(kind, place):
    op, reached = "cascade_lbp" if kind == "lbp" else "cascade_haar", set()
    for arguments in cases(kind, 9):
        expected = cpu.by_name(op, "numpy")(*arguments)
        for rung in cuda_rungs(op):
            got = Placed(rung, place)(*arguments)
            assert got.dtype == np.int32
            np.testing.assert_array_equal(got, expected)
        reached |= set(expected.ravel().tolist())
    assert reached >= {cpu.SKIPPED, 0, 1, 2, 3}


@places
@pytest.mark.parametrize("op", ["cascade_haar", "cascade_lbp"])
def test_no_windows(op, place):
    cascade = parse_cascade((cpu.haar_xml if op == "cascade_haar" else cpu.lbp_xml)(np.random.default_rng(0), 8, 9).encode())
    for shape, rows, expected in (((9, 4), 1, (1, 0)), ((3, 20), 0, (0, 13))):
        sums, squares = cpu.by_name("window_sums", "numpy")(np.zeros(shape, np.uint8), True)
        arrays = (sums, squares) if op == "cascade_haar" else (sums,)
        for rung in cuda_rungs(op):
            assert Placed(rung, place)(*arrays, cascade.features, cascade.trees, (9, 8), 1, rows).shape == expected


def test_no_kernel_leaves_its_arrays(request):
    folders = [str(request.path.parent), str(request.path.parents[1])]
    result = sanitized(f"""
import sys
sys.path[:0] = {folders!r}
from test_cuda_cascade import cases, cuda_rungs
for kind in ("haar", "stumps", "lbp"):
    for arguments in cases(kind, 4):
        for rung in cuda_rungs("cascade_lbp" if kind == "lbp" else "cascade_haar"):
            rung(*arguments)
print("came to its end")
""")
    assert result.returncode == 0 and "came to its end" in result.stdout, result.stdout + result.stderr[-3000:]
