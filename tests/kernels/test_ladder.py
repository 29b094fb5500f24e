"""The register of rungs, and which one is chosen."""

import subprocess
import sys
import types

import numpy as np
import pytest

import minivision_kernels as mk
from minivision_kernels.cpu import threads
from minivision_kernels.shapes import conv_output_size


def test_every_operation_has_a_definition_and_something_faster():
    for op in mk.ops():
        rungs = mk.ladder(op)
        assert {"numpy"} < {rung.name for rung in rungs}
        assert len({(rung.device, rung.name) for rung in rungs}) == len(rungs)
        for rung in rungs:
            assert rung.op == op and rung.device in ("cpu", "cuda")
            assert len(rung.doc) > 20, f"{rung} does not say what it does better"


def test_an_unknown_operation_names_the_nearest():
    with pytest.raises(KeyError, match=r"no operation 'conv2d_foward'; did you mean 'conv2d_forward'\?.*sgd_update"):
        mk.ladder("conv2d_foward")
    with pytest.raises(mk.UnknownOperation):
        mk.run("xyzzy", np.zeros(3))


def test_best_is_repeatable_and_independent_of_threads():
    x, w = np.zeros((4, 8, 5, 5), np.float32), np.zeros((8, 8, 3, 3), np.float32)
    m = x.reshape(4, -1)
    arguments = {"conv2d_forward": (x, w), "conv2d_input": (x, w, x.shape), "conv2d_weight": (x, x, w.shape),
                 "linear_forward": (m, m), "linear_input": (m, m), "linear_weight": (m, m),
                 "add": (np.zeros((64, 64, 8, 8), np.float32),) * 2,
                 "resize": (x[0], (4, 4), "box", True), "affine": (x[0], (1.0, 0.5, 0.0, 0.0, 1.0, 0.0), (4, 4), "bilinear"),
                 "integral": (m, False), "integral_tilted": (m,),
                 "hog_blocks": (x[0], (1, 1), "L2")}
    for op in mk.ops():
        before = mk.best(op, *arguments.get(op, (x,)))
        assert before.repeatable
        assert before.name not in ("loops", "numpy")
        mk.set_num_threads(1)
        assert mk.best(op, *arguments.get(op, (x,))) is before
        mk.set_num_threads(MOST)


@pytest.mark.parametrize("layer", [
    ((64, 6, 14, 14), (16, 6, 5, 5), (1, 1), (0, 0)), ((64, 1, 28, 28), (6, 1, 5, 5), (1, 1), (2, 2)),
    ((16, 32, 8, 8), (32, 32, 5, 5), (2, 2), (2, 2)), ((64, 16, 64, 64), (16, 16, 3, 3), (2, 2), (1, 1)),
    ((4, 24, 80, 80), (16, 24, 7, 7), (2, 2), (0, 0)), ((1, 256, 56, 56), (64, 256, 1, 1), (1, 1), (0, 0)),
], ids=str)
def test_the_choice_does_not_depend_on_threads(layer, monkeypatch):
    x_shape, w_shape, stride, padding = layer
    x, w, geometry = np.zeros(x_shape, np.float32), np.zeros(w_shape, np.float32), (stride, padding, (1, 1), 1)
    g = np.zeros((len(x), len(w), *conv_output_size(x_shape[2:], w_shape[2:], *geometry[:3])), np.float32)
    chosen = set()
    for many in (1, 2, 64):
        monkeypatch.setattr(threads, "_wanted", many)
        answers = sys.modules["minivision_kernels.ladder"]._answers
        answers.clear()
        chosen.add(tuple(mk.best(op, *args, *geometry).name for op, args in (
            ("conv2d_forward", (x, w)), ("conv2d_input", (g, w, x_shape)), ("conv2d_weight", (x, g, w_shape)))))
    answers.clear()
    assert len(chosen) == 1


def test_best_looks_at_the_shapes():
    """Many filters pay for packing what they see; a few are better off with pixels read where they lie."""
    x, geometry = np.zeros((8, 8, 20, 24), np.float32), ((1, 1), (2, 2), (1, 1), 1)
    many, few = np.zeros((64, 8, 5, 5), np.float32), np.zeros((4, 8, 5, 5), np.float32)
    assert mk.best("conv2d_forward", x, many, *geometry).name == "implicit"
    assert mk.best("conv2d_forward", x, few, *geometry).name == "tile"
    assert mk.best("conv2d_forward", x[:1], few, *geometry).name == "tile"
    assert mk.best("conv2d_forward", x[:1, :, :, :12], few[:3], *geometry).name == "tile"      # filters leave lanes empty
    options = dict(zip(("stride", "padding", "dilation", "groups"), geometry))
    assert mk.best("conv2d_forward", x, few, **options).name == "tile"
    assert mk.best("conv2d_input", np.zeros((8, 4, 20, 24), np.float32), few, x.shape, **options).name in ("tile", "direct")
    g, one = np.zeros((8, 64, 20, 24), np.float32), ((1, 1), (0, 0), (1, 1), 1)
    assert mk.best("conv2d_weight", g, g, (64, 64, 1, 1), *one).name == "packed"
    assert mk.best("conv2d_weight", x, g[:, :8], (8, 8, 1, 1), *one).name == "tile"
    depthwise = np.zeros((8, 1, 3, 3), np.float32)
    assert mk.best("conv2d_forward", x, depthwise, (1, 1), (1, 1), (1, 1), 8).name == "depthwise"
    gray, six = np.zeros((8, 1, 28, 28), np.float32), np.zeros((6, 1, 5, 5), np.float32)
    once = (1, 1), (2, 2), (1, 1), 1
    assert mk.best("conv2d_forward", gray, six, *once).name == "depthwise"
    assert mk.best("conv2d_forward", gray, six.repeat(4, axis=0), *once).name != "depthwise"
    assert mk.best("conv2d_weight", gray, np.zeros((8, 6, 28, 28), np.float32), six.shape, *once).name in ("depthwise", "tile")


def test_the_exact_switch_leaves_out_what_trades_accuracy():
    x, w = np.zeros((2, 128, 56, 56), np.float32), np.zeros((128, 128, 3, 3), np.float32)
    geometry = dict(stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1)
    calls = ("conv2d_forward", x, w), ("conv2d_input", x, w, x.shape), ("conv2d_weight", x, x, w.shape)
    for op, *args in calls:
        assert mk.best(op, *args, **geometry).name in ("winograd", "winograd_amx")
    assert mk.best("conv2d_forward", x, w, **{**geometry, "stride": (3, 3)}).exact
    assert mk.best("conv2d_forward", x[:1, :, :5, :5], w, **geometry).exact            # too few patches to pay
    assert mk.best("conv2d_forward", x, np.zeros((128, 128, 5, 5), np.float32), **geometry).name == "winograd"
    at_2 = ("conv2d_forward", x, w), ("conv2d_input", x[:, :, ::2, ::2], w, x.shape)
    for op, *args in at_2:
        assert mk.best(op, *args, **{**geometry, "stride": (2, 2)}).name in ("winograd", "amx")
    mk.set_exact(True)
    try:
        for op, *args in calls:
            assert mk.best(op, *args, **geometry).name == "winograd2"
        for op, *args in at_2:
            assert mk.best(op, *args, **{**geometry, "stride": (2, 2)}).exact
    finally:
        mk.set_exact(False)


def test_without_compiled_rungs_numpy_serves_wherever_it_can():
    x, p = np.zeros((2, 3), np.float32), np.zeros(3)
    mk.set_compiled(False)
    try:
        assert mk.best("relu_forward", x).name == mk.best("linear_forward", x, x).name == "numpy"
        assert mk.best("sgd_update", p, p, None, 0.1, 0.0, 0.0, 0.0, False, True).name == "numpy"
    finally:
        mk.set_compiled(True)
    assert mk.best("relu_forward", x).name == "vectors"


def test_best_falls_back_to_numpy_for_other_dtypes():
    assert mk.best("relu_forward", np.zeros(3, np.int32)).name == "numpy"
    assert mk.best("linear_forward", np.zeros((2, 3), np.longdouble), np.zeros((2, 3), np.longdouble)).name == "numpy"
    assert mk.run("relu_forward", np.array([-1, 2], np.int64)).tolist() == [0, 2]
    swapped = np.array([-1, 2], np.dtype(np.float32).newbyteorder())
    assert mk.run("relu_forward", swapped).tolist() == [0, 2]


def test_run_calls_with_options_by_name():
    x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2))
    y = mk.run("conv2d_forward", x, w, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1)
    assert y.tolist() == [[[[4, 4], [4, 4]]]]


def test_a_cupy_array_selects_cuda(monkeypatch):
    from minivision_kernels.ladder import _choices, _ladders

    cupy = types.ModuleType("cupy")
    Array = type("ndarray", (), {"__module__": "cupy", "dtype": np.dtype("float32")})
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert mk.array_module(Array()) is cupy
    assert mk.array_module(np.zeros(3)) is np
    assert mk.best("relu_forward", Array()).device == "cuda"
    monkeypatch.setitem(_ladders, "relu_forward", [r for r in mk.ladder("relu_forward") if r.device == "cpu"])
    monkeypatch.delitem(_choices, ("relu_forward", "cuda"))
    with pytest.raises(NotImplementedError, match="relu_forward has no rung on cuda"):
        mk.best("relu_forward", Array())


def test_set_num_threads_checks_its_argument():
    for wrong in (0, -1, MOST + 1):
        with pytest.raises(ValueError, match="NUMBA_NUM_THREADS"):
            mk.set_num_threads(wrong)
    assert mk.get_num_threads() == MOST


def test_importing_loads_neither_numba_nor_cupy():
    program = """
import sys, minivision_kernels as mk
import numpy as np
mk.ops(), mk.cache_info(), mk.get_num_threads
assert "numba" not in sys.modules and "cupy" not in sys.modules
mk.run("relu_forward", np.zeros(3))
assert "numba" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


MOST = mk.get_num_threads()
