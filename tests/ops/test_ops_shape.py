"""Operations that move elements: where each element lands, and that its gradient finds back."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle import assert_close, broadcastable, check_dtype, check_gradients, full_shapes, normal, seeds, shapes

import minivision as mv
from minivision import functional as F


def same(op, expected, x, seed=0):
    """``op`` on Tensors does what ``expected`` does on arrays, for floats and integers, and its gradients are right."""
    assert_close(op(mv.tensor(x)), expected(x), 0)
    whole = np.arange(x.size).reshape(x.shape)
    assert np.array_equal(op(mv.tensor(whole)).numpy(), expected(whole))
    check_gradients(op, x, seed=seed)


@given(shape=shapes, seed=seeds, data=st.data())
@settings(max_examples=25)
def test_reshape(shape, seed, data):
    x = normal(seed, *shape)
    target = data.draw(st.permutations(shape).map(tuple)) + (1,)
    for op in (lambda t: t.reshape(target), lambda t: t.reshape(*target), lambda t: t.view(target)):
        same(op, lambda a: a.reshape(target), x, seed)
    if x.size:
        same(lambda t: t.reshape(-1), lambda a: a.reshape(-1), x, seed)


@given(shape=full_shapes, seed=seeds, data=st.data())
@settings(max_examples=20)
def test_flatten(shape, seed, data):
    x = normal(seed, *shape)
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1))
    target = shape[:start] + (-1,) + shape[end + 1:]
    same(lambda t: t.flatten(start, end - len(shape)), lambda a: a.reshape(target), x, seed)


def test_flatten_keeps_the_batch_axis_of_an_empty_batch():
    assert mv.zeros(0, 3, 4).flatten(1).shape == (0, 12)
    assert mv.tensor(1.0).flatten().shape == (1,)


@given(shape=shapes, seed=seeds, data=st.data())
@settings(max_examples=25)
def test_permute_transpose_T(shape, seed, data):
    x = normal(seed, *shape)
    dims = data.draw(st.permutations(range(len(shape))).map(tuple))
    negative = tuple(d - len(shape) if d % 2 else d for d in dims)
    same(lambda t: t.permute(*negative), lambda a: a.transpose(dims), x, seed)
    same(lambda t: t.permute(dims), lambda a: a.transpose(dims), x, seed)
    same(lambda t: t.T, lambda a: a.T, x, seed)
    if shape:
        i, j = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
        same(lambda t: t.transpose(i, j), lambda a: np.swapaxes(a, i, j), x, seed)


@given(shape=shapes, seed=seeds, data=st.data())
@settings(max_examples=25)
def test_squeeze_unsqueeze(shape, seed, data):
    x = normal(seed, *shape)
    same(lambda t: t.squeeze(), np.squeeze, x, seed)
    place = data.draw(st.integers(-len(shape) - 1, len(shape)))
    same(lambda t: t.unsqueeze(place), lambda a: np.expand_dims(a, place), x, seed)
    if shape:
        dim = data.draw(st.integers(-len(shape), len(shape) - 1))
        expected = (lambda a: np.squeeze(a, dim)) if shape[dim] == 1 else (lambda a: a)     # PyTorch: else nothing
        same(lambda t: t.squeeze(dim), expected, x, seed)


@given(shapes=broadcastable(2), seed=seeds)
@settings(max_examples=25)
def test_broadcast_to(shapes, seed):
    x = normal(seed, *shapes[0])
    target = np.broadcast_shapes(*shapes)
    same(lambda t: t.broadcast_to(target), lambda a: np.broadcast_to(a, target), x, seed)


@given(shape=full_shapes, count=st.integers(1, 3), seed=seeds, data=st.data())
@settings(max_examples=25)
def test_cat(shape, count, seed, data):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    arrays = []
    for k in range(count):
        own = list(shape)
        own[dim] = data.draw(st.integers(0, 3))
        arrays.append(normal(seed + k, *own))
    assert_close(mv.cat([mv.tensor(a) for a in arrays], dim), np.concatenate(arrays, dim), 0)
    check_gradients(lambda *t: mv.cat(t, dim), *arrays, seed=seed)


@given(shape=shapes, count=st.integers(1, 3), seed=seeds, data=st.data())
@settings(max_examples=20)
def test_stack(shape, count, seed, data):
    dim = data.draw(st.integers(-len(shape) - 1, len(shape)))
    arrays = [normal(seed + k, *shape) for k in range(count)]
    assert_close(mv.stack([mv.tensor(a) for a in arrays], dim), np.stack(arrays, dim), 0)
    check_gradients(lambda *t: mv.stack(t, dim), *arrays, seed=seed)


def test_cat_of_one_tensor_with_itself_adds_its_gradients():
    x = mv.tensor([1.0, 2.0], requires_grad=True)
    (mv.cat([x, x, x]) * mv.tensor([1.0, 1, 2, 2, 3, 3])).sum().backward()
    assert x.grad.tolist() == [6, 6]


@given(shape=full_shapes, seed=seeds, data=st.data())
@settings(max_examples=20)
def test_flip(shape, seed, data):
    dims = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1, max_size=len(shape)).map(tuple))
    same(lambda t: t.flip(*dims), lambda a: np.flip(a, dims), normal(seed, *shape), seed)
    same(lambda t: t.flip(dims), lambda a: np.flip(a, dims), normal(seed, *shape), seed)


@given(shape=full_shapes, seed=seeds, data=st.data(), mode=st.sampled_from(["constant", "reflect", "replicate", "circular"]))
@settings(max_examples=40)
def test_pad(shape, seed, data, mode):
    x = normal(seed, *shape)
    axes = data.draw(st.integers(1, len(shape)))
    widths, pairs = [], [(0, 0)] * len(shape)
    for k in range(axes):
        n = shape[-1 - k]
        limit = {"constant": 2, "reflect": n - 1, "replicate": 2, "circular": n}[mode]
        before, after = data.draw(st.integers(0, limit)), data.draw(st.integers(0, limit))
        widths += [before, after]
        pairs[-1 - k] = (before, after)

    def expected(a):
        if mode == "constant":
            return np.pad(a, pairs, constant_values=2)
        return np.pad(a, pairs, {"replicate": "edge", "circular": "wrap"}.get(mode, mode))

    options = {"value": 2} if mode == "constant" else {}
    same(lambda t: F.pad(t, widths, mode, **options), expected, x, seed)


def test_pad_order_is_last_axis_first():
    assert F.pad(mv.zeros(1, 1, 2, 2), (1, 0)).shape == (1, 1, 2, 3)
    assert F.pad(mv.zeros(1, 1, 2, 2), (0, 0, 3, 0)).shape == (1, 1, 5, 2)


# ---------------------------------------------------------------------------------------------- indexing


@st.composite
def indices(draw, shape):
    """Any index that NumPy accepts for ``shape``: ints, slices, None, Ellipsis, masks and integer arrays mixed."""
    parts, ellipsis = [], False
    for n in shape:
        kind = draw(st.sampled_from(["int", "slice", "slice", "array", "mask", "none", "ellipsis", "stop"]))
        if kind == "none":
            parts.append(None)
            kind = "slice"
        if kind == "stop":
            break
        if kind == "ellipsis":
            if ellipsis:
                break
            parts.append(Ellipsis)
            ellipsis = True
            break
        if kind == "int":
            parts.append(draw(st.integers(-n, n - 1)))
        elif kind == "slice":
            bound = st.one_of(st.none(), st.integers(-n - 1, n + 1))
            parts.append(slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -2]))))
        elif kind == "array":
            size = draw(st.sampled_from([(1,), (2,), (2, 1)]))
            parts.append(np.array(draw(st.lists(st.integers(-n, n - 1), min_size=int(np.prod(size)),
                                                max_size=int(np.prod(size))))).reshape(size))
        elif kind == "mask":
            parts.append(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))))
    return tuple(parts)


@given(shape=full_shapes, seed=seeds, data=st.data())
@settings(max_examples=120)
def test_getitem_reads_and_adds_as_numpy_does(shape, seed, data):
    x = normal(seed, *shape)
    index = data.draw(indices(shape))
    try:
        expected = x[index]
    except IndexError:                                     # masks and arrays that do not broadcast together
        assume(False)
    t = mv.tensor(x, requires_grad=True)
    y = t[index]
    assert_close(y, expected, 0)
    upstream = normal(seed + 1, *expected.shape)
    g, = mv.grad(y, t, mv.Tensor(upstream))
    counted = np.zeros(shape)
    np.add.at(counted, index, upstream)                    # an element that was read twice gets both gradients
    assert_close(g, counted, 1e-14)
    as_tensors = tuple(mv.tensor(p) if isinstance(p, np.ndarray) else p for p in index)
    assert_close(t[as_tensors], expected, 0)


@pytest.mark.parametrize("index", [0, -1, slice(None, None, -1), (slice(1, 3), None, 0), Ellipsis, [0, 0, 2],
                                   np.array([[0, 2], [2, 2]]), np.array([True, False, True]), ([0, 1, 1], [1, 1, 1]), ()])
def test_getitem_gradients(index):
    check_gradients(lambda x: x[index], normal(0, 3, 2))


def test_index_arrays_are_copied():
    """Changing the index array after the forward does not change the backward."""
    x, index = mv.tensor([1.0, 2.0, 3.0], requires_grad=True), np.array([0, 0])
    y = x[index]
    index[:] = 2
    y.sum().backward()
    assert x.grad.tolist() == [2, 0, 0]


def test_index_with_a_mask_of_the_whole_tensor():
    x = mv.tensor([[1.0, -2.0], [-3.0, 4.0]], requires_grad=True)
    y = x[x > 0]
    assert y.tolist() == [1, 4]
    y.sum().backward()
    assert x.grad.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("op", [
    lambda x: x.reshape(-1), lambda x: x.T, lambda x: x[0], lambda x: x[[0, 0]], lambda x: x.broadcast_to(2, 2, 3),
    lambda x: mv.cat([x, x]), lambda x: mv.stack([x, x]), lambda x: F.pad(x, (1, 1)), lambda x: x.flip(0),
    lambda x: F.pad(x, (1, 1), "reflect"), lambda x: x.unsqueeze(0).squeeze(0),
])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(op, dtype):
    check_dtype(op, normal(0, 2, 3), dtype=dtype)


def test_casts():
    x = mv.tensor([1.5, 2.5], requires_grad=True)
    y = x.to(dtype="float64")
    assert y.dtype == np.float64 and x.to(dtype="float32") is x
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [3, 5]
    assert x.to("float64").dtype == np.float64 and x.to(np.float64).dtype == np.float64
    assert x.to(dtype="int64").tolist() == [1, 2]


def test_shapes_and_dims_by_name_and_as_several_numbers():
    x = mv.arange(6.0).reshape(2, 3)
    for y in (x.reshape((3, 2)), x.reshape(shape=(3, 2)), F.reshape(x, 3, 2), F.reshape(input=x, shape=[3, 2]), x.view(3, 2)):
        assert y.tolist() == [[0, 1], [2, 3], [4, 5]]
    for y in (x.permute(1, 0), x.permute((1, 0)), x.permute(dims=(1, 0)), F.permute(input=x, dims=(1, 0))):
        assert y.tolist() == [[0, 3], [1, 4], [2, 5]]
    for y in (x.flip(0, 1), x.flip((0, 1)), x.flip(dims=(0, 1)), F.flip(input=x, dims=[0, 1])):
        assert y.tolist() == [[5, 4, 3], [2, 1, 0]]
    for y in (x.broadcast_to(1, 2, 3), x.broadcast_to(size=(1, 2, 3)), F.broadcast_to(input=x, size=(1, 2, 3))):
        assert y.tolist() == [x.tolist()]
    assert x.flip(dims=0).tolist() == x.flip(0).tolist() and mv.ones(1).reshape(()).shape == () == mv.tensor(1.0).T.shape
    with pytest.raises(TypeError, match=r"\(3, 2\), expected whole numbers"):
        x.reshape((3, 2), 1)
