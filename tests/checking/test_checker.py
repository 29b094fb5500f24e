"""What a gradient check must accept, refuse, find and leave alone. Many of these are mistakes of published checkers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minivision as mv
from minivision import functional as F
from minivision.checking import GradcheckError, gradcheck, gradgradcheck


def T(*shape, seed=0, values=None):
    data = np.random.default_rng(seed).standard_normal(shape) if values is None else np.array(values, np.float64)
    return mv.tensor(data, requires_grad=True)


def op(forward, backward, keeps=True):
    """An operation made of two functions."""
    return type("Custom", (mv.Function,), {
        "forward": lambda self, *arrays: forward(*arrays),
        "backward": lambda self, grad: backward(self, grad), "keeps_inputs": keeps}).apply


# ---------------------------------------------------------------------------------------------- right gradients pass


@pytest.mark.parametrize("func, shapes", [
    (lambda x: x.exp().sum(), [(3, 4)]),
    (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), [(2, 2, 5, 5), (3, 2, 3, 3), (3,)]),
    (lambda x, w, b: F.linear(x, w, b), [(4, 3), (2, 3), (2,)]),
    (lambda x: F.batch_norm(x, None, None, training=True), [(4, 2, 3, 3)]),
    (lambda x: F.log_softmax(x, 1)[:, 0], [(3, 4)]),
    (lambda x: F.avg_pool2d(x, 3, 1, 1), [(1, 2, 4, 4)]),
    (lambda x: x, [(3,)]),
    (lambda x: x * x, [()]),
])
def test_right_gradients_pass_to_second_order(func, shapes):
    inputs = tuple(T(*s, seed=i) for i, s in enumerate(shapes))
    report = gradcheck(func, inputs)
    assert report and report.checked == sum(x.size for x in inputs)
    assert report.power > 0 and report.max_error < 1e-6 and not report.entries and not report.diagnoses
    assert len(str(report).splitlines()) <= 3
    assert gradgradcheck(func, inputs)


def test_tuples_in_and_out_and_constants():
    labels = mv.tensor(np.array([0, 2]))
    report = gradcheck(lambda x, y, k: (x * y, x.sum(0), F.one_hot(k, 3)), (T(2, 3), T(3), labels))
    assert report and report.checked == 9
    report = gradcheck(lambda x, c: x * c, (T(3), mv.tensor(np.ones(3))))
    assert report.checked == 3
    assert gradcheck(lambda x, k: F.cross_entropy(x, k), (T(2, 3), labels))


def test_large_and_small_numbers():
    assert gradcheck(lambda x: x ** 2, T(values=[1e6, -3e5, 2.0, 1e-4]))
    assert gradcheck(lambda x: x.log(), T(values=[1e-3, 5e-5, 1.0]))          # a strong bend is no kink
    assert gradcheck(lambda x: (x * 300.0).sin(), T(5))
    assert gradcheck(lambda x: 1.0 / x, T(values=[1e-4, 1.0]))                # a default step would be a tenth of x


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
def test_any_shape_and_seed(seed, rows, columns):
    x, y = T(rows, columns, seed=seed), T(columns, seed=seed + 1)
    assert gradcheck(lambda x, y: (x * y).tanh().sum(0), (x, y), seed=seed)


def test_gradients_inside_func():
    def penalty(x):
        return mv.grad((x ** 3).sum(), x, create_graph=True)[0] * x
    assert gradcheck(penalty, T(4))


# ---------------------------------------------------------------------------------------------- checks without power


@pytest.mark.parametrize("func", [
    lambda x: F.softmax(x, 1).sum(),                       # a sum of probabilities is 1
    lambda x: F.batch_norm(x, None, None, training=True).sum(),
    lambda x: (x - 200.0).exp(),                           # slopes of 1e-87
    lambda x: x * 0.0,
    lambda x: mv.tensor(np.ones(3)),
    lambda x: (x > 0).to(dtype="float64"),
    lambda x: F.relu(x - 100.0),
])
def test_a_check_without_power_does_not_pass(func):
    report = gradcheck(func, T(3, 4), raise_exception=False)
    assert not report and report.power == 0
    assert any("vacuous" in reason for reason in report.reasons), report.reasons


def test_a_constant_input_among_others_is_refused():
    report = gradcheck(lambda x, y: x * 2.0 + (y * 0.0).sum(), (T(3), T(2)), raise_exception=False)
    assert not report and "input 1" in report.reasons[0]
    report = gradcheck(lambda x: x.argmax(1), T(3, 4), raise_exception=False)
    assert not report and "int64" in report.reasons[0]


def test_softmax_without_a_backward_is_caught():
    broken = op(lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True), lambda self, g: g * 0.0)
    report = gradcheck(broken, T(3, 4), raise_exception=False)
    assert not report and report.diagnoses[0] == "zero gradient"
    detached = gradcheck(lambda x: x.detach().exp(), T(3), raise_exception=False)
    assert not detached and detached.diagnoses[0] == "zero gradient"
    half = gradcheck(lambda x: x.detach().exp() * x, T(3), raise_exception=False)
    assert not half


# ---------------------------------------------------------------------------------------------- broken promises


def reasons_of(func, inputs=None):
    report = gradcheck(func, T(3, values=[0.5, 1.0, 2.0]) if inputs is None else inputs, raise_exception=False)
    assert not report
    return " ".join(report.reasons)


def test_changed_inputs_are_named():
    def forward(x):
        x *= 2
        return x.copy()
    text = reasons_of(lambda x, y: y + op(forward, lambda self, g: g * 2.0)(x), (T(3), T(3)))
    assert "input 0 was changed by func" in text

    class Spoils(mv.Function):
        keeps_inputs = False

        def forward(self, x):
            self.seen = x
            return x * 2

        def backward(self, grad):
            self.seen[...] = 0.0
            return grad * 2.0

    assert "input 0 was changed by backward" in reasons_of(Spoils.apply)

    def scribble(self, g):
        g._data[...] *= 2
        return g
    assert "upstream" in reasons_of(op(lambda x: x * 2, scribble, keeps=False))


def test_randomness_is_named():
    assert "manual_seed" in reasons_of(lambda x: F.dropout(x), T(20))

    def seeded(x):
        mv.manual_seed(0)
        return F.dropout(x)
    assert gradcheck(seeded, T(20))
    random = np.random.default_rng(0)
    text = reasons_of(op(lambda x: x * 2, lambda self, g: g * (2 + 1e-12 * random.standard_normal())))
    assert "backward is not deterministic" in text


def test_a_gradient_that_is_not_linear_in_the_upstream_is_named():
    sign = op(lambda x: x * 2, lambda self, g: mv.Tensor(np.sign(g.numpy())))
    assert "not linear" in reasons_of(sign)
    guided = op(lambda x: np.maximum(x, 0), lambda self, g: F.relu(g))
    assert "not linear" in reasons_of(guided)


def test_backward_that_raises_is_reported():
    assert "ValueError" in reasons_of(op(lambda x: x * 2, lambda self, g: mv.zeros(7)))
    assert "TypeError" in reasons_of(op(lambda x: x * 2, lambda self, g: g.numpy()))
    assert "ZeroDivisionError" in reasons_of(op(lambda x: x * 2, lambda self, g: 1 / 0))


def test_nan():
    report = gradcheck(op(lambda x: x * 2, lambda self, g: g * float("nan")), T(3), raise_exception=False)
    assert not report and report.diagnoses == ["NaN or inf"] and len(report.entries) == 3
    with np.errstate(all="ignore"):
        assert "domain" in reasons_of(lambda x: x.log(), T(values=[-1.0, 1.0]))
        assert "domain" in reasons_of(lambda x: x.sqrt(), T(values=[0.0, 1.0]))


def test_outputs_must_be_float64_tensors():
    assert "ndarray" in reasons_of(lambda x: x.numpy())
    assert "float32" in reasons_of(lambda x: x.to(dtype="float32"))
    text = reasons_of(lambda x: x.to(dtype="float32").exp().to(dtype="float64"))
    assert "float32" in text


def test_float32_is_refused_or_lifted():
    x = mv.tensor([0.5, 1.0], requires_grad=True)
    for check in (gradcheck, gradgradcheck):
        with pytest.raises(TypeError, match=r"float32.*7 digits.*lift=True"):
            check(mv.exp, x)
        assert check(mv.exp, x, lift=True)
    assert x.dtype == np.float32 and x.grad is None


def test_wrong_use():
    with pytest.raises(ValueError, match="requires_grad=True"):
        gradcheck(mv.exp, mv.tensor(np.ones(3)))
    with pytest.raises(TypeError, match="input 0 is a ndarray"):
        gradcheck(mv.exp, np.ones(3))
    with pytest.raises(ValueError, match="eps"):
        gradcheck(mv.exp, T(3), eps=-1)


# ---------------------------------------------------------------------------------------------- hands off


def test_nothing_of_the_users_is_touched():
    x, w = T(2, 1, 3, 3), T(2, 1, 2, 2, seed=1)
    before = [x.numpy().copy(), w.numpy().copy()]
    gradcheck(F.conv2d, (x, w))
    calls = []

    def raises(x, w):
        calls.append(1)
        if len(calls) == 7:
            raise RuntimeError("in the middle")
        return F.conv2d(x, w)
    with pytest.raises(RuntimeError, match="in the middle"):
        gradcheck(raises, (x, w))
    with pytest.raises(GradcheckError):
        gradcheck(lambda x, w: F.conv2d(x, w).detach(), (x, w))
    for tensor, old in zip((x, w), before):
        assert np.array_equal(tensor.numpy(), old) and tensor.grad is None and tensor.data.flags.writeable
    weight = T(3, seed=2)
    gradcheck(lambda x: x * weight, T(3))
    assert weight.grad is None


# ---------------------------------------------------------------------------------------------- kinks


@pytest.mark.parametrize("func, values, kinks", [
    (F.relu, [1.0, 0.0, -1.0, 0.0], {(1,), (3,)}),
    (F.relu, [1.0, 3e-6, -1.9e-5, 0.5], {(1,), (2,)}),
    (mv.abs, [0.0, 1.0, 6.7e-6], {(0,), (2,)}),
    (lambda x: x.max(), [1.0, 3.0, 3.0], {(1,), (2,)}),
    (lambda x: F.max_pool2d(x, 2), [[[[1.0, 2.0], [2.0, 0.0]]]], {(0, 0, 0, 1), (0, 0, 1, 0)}),
    (lambda x: x.clip(-1.0, 1.0) * x, [1.0, 0.3], {(0,)}),
    (lambda x: (x > 0.5).to(dtype="float64") * x, [0.5, 2.0], {(0,)}),
])
def test_kinks_are_found_named_and_left(func, values, kinks):
    report = gradcheck(func, T(values=values), raise_exception=False)
    assert report, str(report)
    assert {k.index for k in report.kinks} == kinks
    for kink in report.kinks:
        assert kink.value == np.array(values)[kink.index] and kink.moved_to != kink.value
        assert abs(kink.moved_to - kink.value) < 0.01
    assert "redrawn to" in str(report) and len(str(report).splitlines()) <= 3


def test_a_wrong_gradient_is_not_excused_as_a_kink():
    passes = op(lambda x: np.maximum(x, 0), lambda self, g: g)
    report = gradcheck(passes, T(values=[0.0, 1.0, -1.0]), raise_exception=False)
    assert not report and report.diagnoses[0] == "passes where it should block"
    report = gradcheck(op(np.abs, lambda self, g: g * 3.0), T(values=[0.0]), raise_exception=False)
    assert not report


def test_kinks_everywhere_are_reported():
    report = gradcheck(op(lambda x: np.round(x * 271828.0) / 271828.0, lambda self, g: g), T(3), raise_exception=False)
    assert not report and ("uncertain" in str(report) or "within eps of a kink" in str(report))

    def triangle(x):                                       # a kink every 3e-5
        u = x / 6e-5 % 1
        return np.where(u < 0.5, u, 1 - u) * 6e-5

    def slope(self, g):
        return g * mv.Tensor(np.where(self.inputs[0].numpy() / 6e-5 % 1 < 0.5, 1.0, -1.0))
    report = gradcheck(op(triangle, slope), T(30), raise_exception=False)
    assert not report and report.diagnoses == ["kink within eps"] and "after 10 redraws" in str(report)


@given(st.floats(-2, 2), st.floats(0.3, 3))
def test_smooth_functions_have_no_kinks(centre, width):
    report = gradcheck(lambda x: (-(x - centre) ** 2 / width).exp() + x.sigmoid(), T(4))
    assert not report.kinks


# ---------------------------------------------------------------------------------------------- second order


def test_second_order_mistakes_are_caught():
    # Right to first order; the factor computed with NumPy hides its dependence on x from the second.
    cut = op(lambda x: x ** 3, lambda self, g: g * mv.Tensor(3 * self.inputs[0].numpy() ** 2))
    assert gradcheck(cut, T(3))
    report = gradgradcheck(cut, T(3), raise_exception=False)
    assert not report and report.diagnoses[0] == "zero gradient" and "input 0" in str(report)
    assert "upstream" not in str(report).splitlines()[0]


def test_linear_functions_have_power_through_the_upstream():
    report = gradgradcheck(lambda x, y: x * 2.0 + y, (T(3), T(3)))
    assert report and report.power > 0 and "does not depend on the inputs" in str(report)


# ---------------------------------------------------------------------------------------------- the report


def test_a_failure_reads_well():
    wrong = op(lambda x, y: x @ y, lambda self, g: (g @ self.inputs[1].T * 2.0, -(self.inputs[0].T @ g)))
    with pytest.raises(GradcheckError) as caught:
        gradcheck(wrong, (T(3, 4), T(4, 5)))
    assert isinstance(caught.value, AssertionError)
    report, text = caught.value.report, str(caught.value)
    assert str(report) == text and len(text.splitlines()) <= 25 and not report
    assert "input 0, shape (3, 4): 12 of 12 entries wrong" in text
    assert "looks like: scaled by 2" in text and "sign flipped" in text
    assert set(report.diagnoses) >= {"scaled by 2", "sign flipped"}
    gaps = [abs(e.yours - e.numeric) for e in report.entries]
    assert gaps == sorted(gaps, reverse=True)
    for e in report.entries:
        assert e.ratio == pytest.approx(e.yours / e.numeric)
        assert e.ratio == pytest.approx(2.0 if e.input == 0 else -1.0, rel=1e-6)


def test_the_map_shows_where():
    def backward(self, g):
        grad = g.numpy().copy()
        grad[..., 0, :] *= 2
        return mv.Tensor(grad)
    report = gradcheck(op(lambda x: x * 1.0, backward), T(2, 3, 4, 5), raise_exception=False)
    lines = str(report).splitlines()
    start = next(i for i, line in enumerate(lines) if "4 x 5, worst of 6 planes" in line)
    rows = [line.strip() for line in lines[start + 1:start + 5]]
    assert set(rows[0]) <= set("░▒▓█") and rows[1:] == ["·····"] * 3


@pytest.mark.parametrize("shape", [(), (1,), (500,), (30, 90), (2, 2, 2, 2, 2)])
def test_reports_of_any_shape_are_short(shape):
    report = gradcheck(lambda x: (x * 2.0).detach() + x, T(*shape), raise_exception=False)
    assert not report and len(str(report).splitlines()) <= 25
    assert max(map(len, str(report).splitlines())) <= 120


def test_a_report_full_of_trouble_is_still_short():
    def backward(self, g):
        sign = mv.Tensor(np.sign(g.numpy()))
        return sign, sign * 2.0, -sign
    report = gradcheck(op(lambda x, y, z: x + y + z, backward), (T(6, 6), T(6, 6), T(6, 6)), raise_exception=False)
    text = str(report)
    assert len(report.reasons) == 3 and len(report.wrong) == 3 and len(text.splitlines()) <= 25
    assert "power" in text.splitlines()[-1]


def test_reports_do_not_depend_on_anything_but_the_seed():
    def once(seed):
        return str(gradcheck(lambda x: F.relu(x).detach() + x, T(3, 3), seed=seed, raise_exception=False))
    assert once(3) == once(3)
