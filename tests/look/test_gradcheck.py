"""The gradient check: right layers pass, wrong ones never do, and nothing of the layer is touched."""

import copy

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.layers.layer import Layer
from cnnlayers.look.gradcheck import Report
from tests.html import parsed, tables_of, words_of, words_of_text


def batch(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape)


class Mistaken(cl.Affine):
    """An Affine with a mistake of one kind in its backward pass."""

    def __init__(self, units, mistake):
        super().__init__(units)
        self.mistake = mistake

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        W, dW, db = self.params["W"], self.grads["W"], self.grads["b"]
        dW[...] = x.T @ dy
        db[...] = dy.sum(axis=0)
        dx = dy @ W.T
        match self.mistake:
            case "none":
                pass
            case "sign":
                dW *= -1
            case "factor 2":
                dW *= 2
            case "mean instead of sum":
                dW /= len(x)
            case "missing db":
                db[...] = 0
            case "one entry":
                dW[7, 3] += 1e-3
            case "no sum over the batch":
                db[...] = dy[0]
            case "first sample alone":
                dW[...] = np.outer(x[0], dy[0])
            case "dx transposed":
                dx = dy @ W
            case "dx off by a hair":
                dx = dx * (1 + 1e-5)
            case "dx zero":
                dx = 0 * dx
            case "not a number":
                dW[0, 0] = np.nan
        return dx


@pytest.mark.parametrize(
    ("mistake", "wrong"),
    [
        ("none", []),
        ("sign", ["W"]),
        ("factor 2", ["W"]),
        ("mean instead of sum", ["W"]),
        ("missing db", ["b"]),
        ("one entry", ["W"]),
        ("no sum over the batch", ["b"]),
        ("first sample alone", ["W"]),
        ("dx transposed", ["x"]),
        ("dx off by a hair", ["x"]),
        ("dx zero", ["x"]),
        ("not a number", ["W"]),
    ],
)
def test_each_kind_of_wrong_gradient_fails_and_is_named(mistake, wrong):
    report = cl.gradcheck(Mistaken(20, mistake), batch(3, 20))
    assert report.failed == wrong
    assert report.ok == (not wrong)
    assert report.kinks == {"x": 0, "W": 0, "b": 0}


@pytest.mark.parametrize("mistake", ["none", "sign", "missing db"])
def test_a_mistake_is_found_inside_a_net_with_its_loss(mistake):
    net = cl.Sequential([cl.Affine(4), cl.Tanh(), Mistaken(5, mistake)], input_shape=(3,), rng=0)
    report = cl.gradcheck(net, batch(6, 3), cl.SoftmaxLoss(), [0, 1, 2, 3, 4, 0])
    assert report.failed == {"none": [], "sign": ["2.W"], "missing db": ["2.b"]}[mistake]


NETS = {
    "residual": lambda: [
        cl.Conv(3, 3, padding=1),
        cl.BatchNorm(),
        cl.ReLU(),
        cl.Residual([cl.Conv(4, (3, 2), stride=2, padding="same"), cl.BatchNorm()], shortcut=cl.Conv(4, 1, 2)),
        cl.ReLU(),
        cl.MaxPool(2, 1),
        cl.Flatten(),
        cl.Dropout(0.3),
        cl.Affine(3),
    ],
    "signals": lambda: [cl.Conv(4, 3, dilation=2), cl.LeakyReLU(), cl.GlobalMaxPool(), cl.Affine(3)],
    "smooth": lambda: [cl.Flatten(), cl.Affine(5), cl.Sigmoid(), cl.Affine(3), cl.Softmax()],
}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("loss", [None, cl.SoftmaxLoss(label_smoothing=0.1), cl.HingeLoss()])
@pytest.mark.parametrize("kind", NETS)
def test_nets_pass_with_and_without_a_loss(kind, loss, train):
    shape = (8, 3) if kind == "signals" else (6, 6, 2)
    net = cl.Sequential(NETS[kind](), input_shape=shape, rng=2)
    target = None if loss is None else [0, 2, 1]
    report = cl.gradcheck(net, batch(3, *shape), loss, target, train=train, samples=8)
    assert report.ok, report
    assert set(report.errors) == {"x", *net.params}


def test_mean_squared_error_takes_targets_like_the_outputs():
    assert cl.gradcheck(cl.Affine(2), batch(4, 3), cl.MSELoss(), batch(4, 2, seed=2)).ok


def test_a_kink_at_exactly_zero_is_counted_and_left_out():
    x = np.array([[-1.0, 0.0, 2.0], [0.0, 3.0, -0.5]])
    report = cl.gradcheck(cl.ReLU(), x)
    assert report.ok
    assert report.kinks == {"x": 2}
    assert "2 kinks" in str(report)


def test_a_single_kink_reads_as_one():
    assert "(1 kink left out)" in str(cl.gradcheck(cl.ReLU(), [[0.0, 1.0]]))


def test_every_input_at_a_kink():
    report = cl.gradcheck(cl.LeakyReLU(0.1), np.zeros((2, 3)))
    assert report.ok
    assert report.kinks == {"x": 6}


def test_pool_ties_are_kinks():
    x = np.array([5.0, 5.0, 1.0, 2.0, 7.0, 7.0]).reshape(1, 6, 1)
    report = cl.gradcheck(cl.MaxPool(2), x)
    assert report.ok
    assert report.kinks == {"x": 4}


def test_a_pool_without_ties_has_no_kinks():
    report = cl.gradcheck(cl.MaxPool(2), np.arange(12.0).reshape(1, 12, 1))
    assert report.ok
    assert report.kinks == {"x": 0}


def test_kinks_of_parameters_are_found():
    net = cl.Sequential([cl.Affine(2), cl.ReLU()], input_shape=(3,), rng=0)
    net.params["0.W"] = np.zeros((3, 2))
    report = cl.gradcheck(net, batch(1, 3) + 5)  # every score is exactly 0, at the kink of ReLU
    assert report.ok
    assert report.kinks["0.W"] == 6
    assert report.kinks["0.b"] == 2


@pytest.mark.parametrize("distance", [1e-4, 3e-6, 1e-6, 2e-7, 1.45e-7, 1e-9, 0.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_kink_at_any_distance_passes(distance, side):
    report = cl.gradcheck(cl.ReLU(), [[side * distance, 1.0]])
    assert report.ok, report


def test_a_kink_on_a_curve_is_recognised():
    class Bend(Layer):
        """y = 100 x² + |x|, whose slope is not constant on either side."""

        def forward(self, x, train=True):
            self.keep(x)
            return 100 * x**2 + np.abs(x)

        def backward(self, dy, input_grad=True):
            (x,) = self.take()
            return dy * (200 * x + np.where(x >= 0, 1, -1))

    report = cl.gradcheck(Bend(), [[0.0, 0.3, -0.2]])
    assert report.ok, report
    assert report.kinks == {"x": 1}


@pytest.mark.parametrize("slope", [2.0, -1.0, 1.01])
def test_a_wrong_gradient_at_a_kink_fails(slope):
    class Wrong(cl.ReLU):
        def backward(self, dy, input_grad=True):
            (y,) = self.take()
            return dy * np.where(y > 0, 1, slope)  # the slopes at 0 are between 0 and 1

    report = cl.gradcheck(Wrong(), [[0.0, 1.0, 2.0]])
    assert report.failed == ["x"]
    assert report.kinks == {"x": 0}


def test_a_wrong_gradient_beside_a_kink_fails():
    class Wrong(cl.ReLU):
        def backward(self, dy, input_grad=True):
            (y,) = self.take()
            return dy * np.where(y > 0, 1 - 1e-4, 0)

    report = cl.gradcheck(Wrong(), [[0.0, 1.0, -2.0]])
    assert report.failed == ["x"]
    assert report.kinks == {"x": 1}


def test_a_wrong_gradient_just_beside_a_kink_fails():
    class Wrong(cl.ReLU):
        def backward(self, dy, input_grad=True):
            (y,) = self.take()
            return dy * np.where(y > 0, 0.5, 0)

    assert cl.gradcheck(Wrong(), [[1e-6, 1.0]]).failed == ["x"]


@pytest.mark.parametrize("sharpness", [1.0, 100.0, 3e3])
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.999, 1.001, 2.0, -1.0])
def test_a_wrong_gradient_of_a_smooth_function_is_never_a_kink(sharpness, factor):
    class Wrong(Layer):
        """y = sin(k x) / k with its gradient off by a factor: steeply curved, but smooth."""

        def forward(self, x, train=True):
            self.keep(x)
            return np.sin(sharpness * x) / sharpness

        def backward(self, dy, input_grad=True):
            (x,) = self.take()
            return factor * dy * np.cos(sharpness * x)

    report = cl.gradcheck(Wrong(), batch(4, 5))
    assert report.failed == ["x"]
    assert report.kinks == {"x": 0}


def test_a_right_gradient_of_a_sharply_curved_function_passes_by_smaller_steps():
    class Sharp(Layer):
        def forward(self, x, train=True):
            self.keep(x)
            return np.sin(1e3 * x)

        def backward(self, dy, input_grad=True):
            (x,) = self.take()
            return 1e3 * dy * np.cos(1e3 * x)

    assert cl.gradcheck(Sharp(), batch(4, 5)).ok


def test_a_jump_is_no_kink():
    class Step(Layer):
        """y = x plus a step at 0."""

        def forward(self, x, train=True):
            return x + (x > 0)

        def backward(self, dy, input_grad=True):
            return dy

    assert cl.gradcheck(Step(), [[1.0, 2.0]]).ok
    report = cl.gradcheck(Step(), [[0.0, 1.0]])
    assert report.failed == ["x"]
    assert report.kinks == {"x": 0}


def test_batch_norm_in_training_and_the_bias_before_it():
    net = cl.Sequential([cl.Affine(4), cl.BatchNorm()], input_shape=(3,), rng=0)
    report = cl.gradcheck(net, batch(6, 3))
    assert report.ok, report
    assert report.errors["0.b"] < 1e-6  # its gradient is zero: the error is absolute


@pytest.mark.parametrize("train", [True, False])
def test_frozen_layers(train):
    net = cl.Sequential([cl.Conv(3, 2), cl.BatchNorm(), cl.Flatten(), cl.Affine(2)], input_shape=(4, 3, 2), rng=0)
    net.state["1.running_mean"] = [0.3, -0.2, 0.1]
    net.trainable = False
    report = cl.gradcheck(net, batch(2, 4, 3, 2), train=train)
    assert report.ok, report
    assert not net.trainable


def test_dropout_is_replayed():
    report = cl.gradcheck(cl.Dropout(0.5), batch(8, 10))
    assert report.ok, report


def test_two_dropouts_with_state_between():
    net = cl.Sequential([cl.Dropout(0.3), cl.Affine(4), cl.BatchNorm(momentum=0.5), cl.Dropout(0.5)], (6,), rng=0)
    assert cl.gradcheck(net, batch(7, 6)).ok


def test_state_is_restored_at_each_evaluation():
    class Counts(Layer):
        """y = x times the number of forward passes so far."""

        def allocate(self, input_shape):
            self.add_state("passes", (1,))

        def forward(self, x, train=True):
            self.state["passes"] += 1
            self.keep(float(self.state["passes"][0]))
            return x * self.state["passes"]

        def backward(self, dy, input_grad=True):
            (passes,) = self.take()
            return dy * passes

    layer = Counts()
    layer.forward(batch(2, 3))
    report = cl.gradcheck(layer, batch(2, 3))
    assert report.ok, report
    assert layer.state["passes"] == [1]


def snapshot(net):
    draws = [part.rng.bit_generator.state for _, part in net.walk() if part.random]
    arrays = [net.flat_params, net.flat_grads, net.flat_state]
    return copy.deepcopy(draws), [a.copy() for a in arrays], [id(a) for a in net.params.values()]


def test_the_given_net_is_left_as_it_was():
    net = cl.Sequential([cl.Affine(4), cl.BatchNorm(), cl.Dropout(0.5), cl.ReLU()], input_shape=(3,), rng=0)
    x = batch(5, 3).astype(np.float32)
    y = net.forward(x)
    draws, arrays, objects = snapshot(net)
    assert cl.gradcheck(net, x).ok
    draws_after, arrays_after, objects_after = snapshot(net)
    assert draws_after == draws
    assert objects_after == objects
    for before, after in zip(arrays, arrays_after, strict=True):
        np.testing.assert_array_equal(before, after)
    assert net.dtype == np.float32
    net.backward(np.ones_like(y))  # the pending backward is still there


def test_an_unbuilt_layer_stays_unbuilt():
    layer = cl.Affine(3)
    assert cl.gradcheck(layer, batch(2, 4)).ok
    assert not layer.built


def test_the_loss_and_the_input_are_left_as_they_were():
    x, loss = batch(2, 4), cl.SoftmaxLoss()
    kept = x.copy()
    loss.forward(np.zeros((1, 2)), [0])
    before = loss.backward()
    assert cl.gradcheck(cl.Affine(3), x, loss, [0, 1]).ok
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(loss.backward(), before)


def test_the_global_random_state_is_not_used():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    cl.gradcheck(cl.Dropout(0.5), batch(2, 4))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_the_same_seed_gives_the_same_report():
    def check(rng):
        return cl.gradcheck(cl.Affine(3), batch(2, 4), samples=2, rng=rng).errors

    assert check(3) == check(3) == check(np.random.default_rng(3))
    assert check(3) != check(4)


def test_samples_checks_so_many_entries_of_each_array():
    class Counting(cl.Affine):
        calls = 0

        def forward(self, x, train=True):
            Counting.calls += 1
            return super().forward(x, train)

    cl.gradcheck(Counting(20), batch(5, 30), samples=3)
    few = Counting.calls
    assert 3 * 3 * 2 < few < 3 * 3 * 2 + 10
    Counting.calls = 0
    cl.gradcheck(Counting(2), batch(2, 3), samples=1000)
    assert Counting.calls >= 2 * (6 + 6 + 2)


def test_inputs_that_are_no_floats_are_cast():
    for x in ([[1, 2, 3]], np.array([[1, 2, 3]], np.uint8), np.array([[True, False, True]])):
        assert cl.gradcheck(cl.Affine(2), x).ok


def test_an_empty_batch_has_nothing_to_fail():
    assert cl.gradcheck(cl.Affine(2), np.zeros((0, 3))).ok


def test_the_report_prints_as_a_table():
    report = cl.gradcheck(Mistaken(2, "missing db"), batch(3, 2))
    assert isinstance(report, Report)
    lines = str(report).splitlines()
    assert lines[0].split() == ["array", "shape", "error", "kinks", "ok"]
    assert [line.split()[0] for line in lines[1:4]] == ["x", "W", "b"]
    assert [line.split()[-1] for line in lines[1:4]] == ["yes", "yes", "NO"]
    assert lines[-1] == "FAILED: b"
    assert repr(report) == str(report)
    assert report.shapes == {"x": (3, 2), "W": (2, 2), "b": (2,)}
    assert report.tol == 1e-6


@pytest.mark.parametrize("mistake", ["none", "missing db", "not a number"])
def test_a_notebook_shows_the_report(mistake):
    report = cl.gradcheck(Mistaken(4, mistake), batch(3, 4))
    html = report._repr_html_()
    assert words_of(html) == words_of_text(str(report))
    marked = [row[0].text for row in parsed(html).iter("tr") if "marked" in (row[-1].get("class") or "")]
    assert marked == report.failed


def test_a_notebook_shows_problems_and_escapes_names():
    report = Report({"<x>": 1e-3}, {"<x>": 1}, {"<x>": (2,)}, 1e-6, ("a <b>problem</b>",))
    html = report._repr_html_()
    assert tables_of(html)[0][1] == ["<x>", "(2,)", "1.0e-03", "1", "NO"]
    lines = ["".join(line.itertext()) for line in parsed(html).iter("p")]
    assert lines == ["a <b>problem</b>", "FAILED: <x> (1 kink left out)"]


def test_tolerance_decides():
    assert cl.gradcheck(Mistaken(5, "dx off by a hair"), batch(3, 5), tol=1e-4).ok


class Broken(Layer):
    """y = 3 x, with a habit that breaks nets but not its own gradients."""

    def __init__(self, habit):
        self.habit = habit

    def allocate(self, input_shape):
        self.add_param("s", (1,), "ones")
        self.noise = np.random.default_rng(0)

    def forward(self, x, train=True):
        self.keep(x.copy())
        y = 3 * self.params["s"] * x
        if self.habit == "writes x":
            x *= 2
        if self.habit == "writes the clipped x":
            np.maximum(x, 0, out=x)
        if self.habit == "unreplayable":
            y = y + np.random.default_rng().standard_normal(y.shape)
        return y

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        ds = 3 * (dy * x).sum()
        if self.habit == "adds up":
            self.grads["s"][...] += ds
        elif self.habit != "only with dx" or input_grad:
            self.grads["s"][...] = ds
        else:
            self.grads["s"][...] = 0
        dx = 3 * self.params["s"] * dy
        if self.habit == "writes dy":
            dy *= 2
        return dx


@pytest.mark.parametrize(
    ("habit", "says"),
    [
        ("writes x", "forward wrote to its input"),
        ("writes the clipped x", "forward wrote to its input"),
        ("writes dy", "backward wrote to dy"),
        ("adds up", "a second backward, with input_grad=False, gave another gradient of 's'"),
        ("only with dx", "a second backward, with input_grad=False, gave another gradient of 's'"),
        ("unreplayable", "draw random numbers from a Generator in self.rng"),
    ],
)
def test_habits_that_break_nets_are_told(habit, says):
    report = cl.gradcheck(Broken(habit), batch(2, 3))
    assert not report.ok
    assert says in str(report)
    assert str(report).splitlines()[-1].startswith("FAILED")


def test_a_layer_without_bad_habits():
    assert cl.gradcheck(Broken("none"), batch(2, 3)).ok


def test_errors_of_arguments():
    x = batch(2, 3)
    with pytest.raises(TypeError, match=r"gradcheck needs a Layer; got 'relu'"):
        cl.gradcheck("relu", x)
    with pytest.raises(TypeError, match=r"give an instance, ReLU\(...\)"):
        cl.gradcheck(cl.ReLU, x)
    with pytest.raises(ValueError, match="a loss needs a target"):
        cl.gradcheck(cl.Affine(2), x, cl.SoftmaxLoss())
    with pytest.raises(ValueError, match="a target needs a loss"):
        cl.gradcheck(cl.Affine(2), x, target=[0, 1])
    with pytest.raises(ValueError, match="tol must be a number above 0; got 0"):
        cl.gradcheck(cl.Affine(2), x, tol=0)
    with pytest.raises(ValueError, match="step must be a number above 0; got nan"):
        cl.gradcheck(cl.Affine(2), x, step=np.nan)
    with pytest.raises(ValueError, match="samples must be an int of at least 1; got 0"):
        cl.gradcheck(cl.Affine(2), x, samples=0)
    with pytest.raises(ValueError, match=r"samples must be an int of at least 1; got 2\.5"):
        cl.gradcheck(cl.Affine(2), x, samples=2.5)
    with pytest.raises(ValueError, match=r"gradcheck: ReLU\(\) needs a batch"):
        cl.gradcheck(cl.ReLU(), 1.0)
    with pytest.raises(TypeError, match=r"gradcheck: ReLU\(\) needs real numbers; got dtype complex128"):
        cl.gradcheck(cl.ReLU(), [[1j]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite(bad):
    with pytest.raises(ValueError, match=r"outputs of ReLU\(\) are not finite"):
        cl.gradcheck(cl.ReLU(), [[1.0, bad]])


def test_a_loss_that_is_not_finite():
    class Endless(cl.Loss):
        def forward(self, scores, target):
            return np.inf

    with pytest.raises(ValueError, match=r"the loss is not finite \(inf\)"):
        cl.gradcheck(cl.ReLU(), [[1.0]], Endless(), [0])


def test_wrong_shapes_give_the_errors_of_the_layer():
    with pytest.raises(ValueError, match=r"Affine\(2\) needs rows \(N, D\); got shape \(N, 3, 3\)"):
        cl.gradcheck(cl.Affine(2), batch(2, 3, 3))

    class Promises(Layer):
        def forward(self, x, train=True):
            return x[:, :1]

        def backward(self, dy, input_grad=True):
            return dy

    with pytest.raises(ValueError, match=r"forward gave shape \(2, 1\), but output_shape promises \(2, 3\)"):
        cl.gradcheck(Promises(), batch(2, 3))

    class Narrow(Layer):
        def forward(self, x, train=True):
            return x

        def backward(self, dy, input_grad=True):
            return dy[:, :1]

    with pytest.raises(ValueError, match=r"backward must return dx of shape \(2, 3\); got shape \(2, 1\)"):
        cl.gradcheck(Narrow(), batch(2, 3))


def test_a_parameter_named_as_the_input_is_refused():
    class Named(Layer):
        def allocate(self, input_shape):
            self.add_param("x", (1,))

        def forward(self, x, train=True):
            return x

    with pytest.raises(ValueError, match="gradcheck calls the input 'x'"):
        cl.gradcheck(Named(), batch(2, 3))
