"""Layers that a student writes: each alone, in a net, trained, saved, loaded and checked."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnlayers as cl

ROOT = Path(__file__).parents[2]

SCRIPT = """\
import numpy as np
import cnnlayers as cl

class Swish(cl.Layer):
    def forward(self, x, train=True):
        s = 1 / (1 + np.exp(-x))
        self.keep(x, s)
        return x * s

    def backward(self, dy, input_grad=True):
        x, s = self.take()
        return dy * (s + x * s * (1 - s))

print(cl.gradcheck(Swish(), np.random.default_rng(0).standard_normal((4, 3))).ok)
x = np.random.default_rng(0).standard_normal((64, 2))
net = cl.Sequential([cl.Affine(8), Swish(), cl.Affine(2)], input_shape=(2,), rng=0)
data = (x, (x[:, 0] * x[:, 1] > 0).astype(int))
history = cl.Solver(net, data, loss=cl.SoftmaxLoss(), optimizer=cl.Adam(0.05), epochs=60, progress=False).train()
print(history["train_accuracy"][-1] > 0.95)
"""


def test_a_script_of_ones_own(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    assert SCRIPT[: SCRIPT.index("print")].strip().count("\n") < 20
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert run.stderr == ""
    assert run.stdout.split() == ["True", "True"]


class Cube(cl.Layer):
    """y = x³: no parameters."""

    def forward(self, x, train=True):
        self.keep(x)
        return x**3 / 3

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        return dy * x**2


class Keeps(cl.Layer):
    """y = sin(x), with x kept on the layer by hand."""

    def forward(self, x, train=True):
        self.x = x
        return np.sin(x)

    def backward(self, dy, input_grad=True):
        return dy * np.cos(self.x)


class Linear(cl.Layer):
    """y = x W + b, with add_param."""

    def __init__(self, units, init="he_normal"):
        self.units, self.init = units, init

    def allocate(self, input_shape):
        self.add_param("W", (input_shape[-1], self.units), self.init)
        self.add_param("b", (self.units,))
        self.add_state("calls", (1,))

    def forward(self, x, train=True):
        self.keep(x)
        if train:
            self.state["calls"] += 1
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy, input_grad=True):
        (x,) = self.take()
        self.grads["b"] = dy.sum(axis=0)
        self.grads["W"] = x.T @ dy
        return dy @ self.params["W"].T

    def output_shape(self, input_shape):
        return (self.units,)


OWN = {
    "no parameters": Cube,
    "keeps x by hand": Keeps,
    "add_param": lambda: Linear(4),
}
own = pytest.mark.parametrize("make", OWN.values(), ids=OWN.keys())
CUSTOM = (Cube, Keeps, Linear)


def net_of(layer, dtype=np.float32):
    return cl.Sequential([cl.Affine(4), layer, cl.Residual([cl.Affine(4)]), cl.Affine(2)], (3,), rng=0, dtype=dtype)


def data(n=48):
    x = np.random.default_rng(0).standard_normal((n, 3))
    return x, (x[:, 0] > x[:, 1]).astype(int)


@own
def test_it_is_checked_alone_and_in_a_net(make):
    x = data(4)[0]
    assert cl.gradcheck(make(), x).ok
    report = cl.gradcheck(net_of(make()), x, cl.SoftmaxLoss(), [0, 1, 0, 1])
    assert report.ok, report


@own
def test_its_arrays_are_views_of_the_nets(make):
    net = net_of(make())
    own = net[1]
    for key in ("params", "grads", "state"):
        for name, array in getattr(own, key).items():
            assert getattr(net, key)[f"1.{name}"] is array
            assert np.shares_memory(array, getattr(net, f"flat_{key}"))
    net.backward(net.forward(data()[0]))
    for key in ("params", "grads", "state"):
        assert all(getattr(net, key)[f"1.{name}"] is array for name, array in getattr(own, key).items())
    assert list(net.grads) == list(net.params)
    assert [g.shape for g in net.grads.values()] == [p.shape for p in net.params.values()]
    assert all((grad != 0).any() for grad in own.grads.values())
    assert own.forward(np.ones((2, 4))).dtype == net.flat_params.dtype == np.float32


@own
def test_it_trains(make):
    net = net_of(make())
    before = {name: a.copy() for name, a in net[1].params.items()}
    solver = cl.Solver(net, data(), loss=cl.SoftmaxLoss(), optimizer=cl.Adam(0.03), batch_size=16, progress=False)
    history = solver.train(20)
    assert history["train_loss"][-1] < 0.6 * history["train_loss"][0]
    assert all((net.params[f"1.{name}"] != a).any() for name, a in before.items())


@own
def test_it_is_saved_and_loaded(make, tmp_path):
    net = net_of(make())
    solver = cl.Solver(net, data(), loss=cl.SoftmaxLoss(), optimizer=cl.SGD(0.1), progress=False)
    solver.train(1)
    net.save(tmp_path / "net.safetensors")
    loaded = cl.load(tmp_path / "net.safetensors", custom=CUSTOM)
    assert repr(loaded) == repr(net)
    assert list(loaded.params) == list(net.params)
    np.testing.assert_array_equal(loaded.flat_params, net.flat_params)
    np.testing.assert_array_equal(loaded.flat_state, net.flat_state)
    np.testing.assert_array_equal(loaded.predict(data()[0]), net.predict(data()[0]))
    with pytest.raises(cl.CheckpointError, match=rf"unknown layer '{type(net[1]).__name__}': if it is yours"):
        cl.load(tmp_path / "net.safetensors")


@own
def test_it_is_copied_and_joins_with_its_values(make):
    layer = make()
    layer.build((4,), rng=3)
    values = layer.flat_params.copy()
    net = net_of(layer)
    np.testing.assert_array_equal(net[1].flat_params, values)
    net[1].build((4,), rng=5)  # it is built
    np.testing.assert_array_equal(net[1].flat_params, values)
    assert values.size == 0 or np.shares_memory(net[1].flat_params, net.flat_params)
    twin = net.copy()
    np.testing.assert_array_equal(twin.flat_params, net.flat_params)
    assert not np.shares_memory(twin.flat_params, net.flat_params)


@own
def test_the_same_seed_gives_the_same_values(make):
    np.testing.assert_array_equal(net_of(make()).flat_params, net_of(make()).flat_params)


@own
def test_predict_leaves_a_pending_backward(make):
    net, x = net_of(make()), data()[0]
    twin = net.copy()
    y = net.forward(x)
    twin.forward(x)
    net.predict(2 * x)
    np.testing.assert_array_equal(net.backward(y), twin.backward(y))
    np.testing.assert_array_equal(net.flat_grads, twin.flat_grads)


def test_a_subclass_of_a_layer_of_the_package(tmp_path):
    class Sign(cl.Affine):
        def forward(self, x, train=True):
            return -super().forward(x, train)

        def backward(self, dy, input_grad=True):
            return super().backward(-dy)

    net = net_of(Sign(4))
    assert cl.gradcheck(net, data(3)[0]).ok
    net.save(tmp_path / "net.safetensors")
    loaded = cl.load(tmp_path / "net.safetensors", custom=[Sign])
    np.testing.assert_array_equal(loaded.predict(data()[0]), net.predict(data()[0]))


def test_forward_that_returns_nothing():
    class Forgets(Cube):
        def forward(self, x, train=True):
            self.keep(x)

    with pytest.raises(TypeError, match=r"Forgets\(\): forward must return an array; got NoneType"):
        net_of(Forgets()).forward(data()[0])


def test_backward_that_returns_nothing():
    class Forgets(Cube):
        def backward(self, dy, input_grad=True):
            self.take()

    net = net_of(Forgets())
    y = net.forward(data()[0])
    with pytest.raises(TypeError, match=r"Forgets\(\): backward must return dx, an array; got NoneType"):
        net.backward(y)


def test_params_of_the_wrong_shape():
    class Wrong(Linear):
        def backward(self, dy, input_grad=True):
            (x,) = self.take()
            self.grads["W"] = dy.T @ x
            return dy @ self.params["W"].T

    net = cl.Sequential([Wrong(2)], input_shape=(3,))
    net.forward(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"'W' has shape \(3, 2\); got shape \(2, 3\)"):
        net.backward(np.ones((1, 2)))


def test_an_array_that_is_none_of_the_layers():
    class Invents(Linear):
        def backward(self, dy, input_grad=True):
            self.grads["w"] = dy
            return dy

    net = cl.Sequential([Invents(2)], input_shape=(3,))
    net.forward(np.ones((1, 3)))
    with pytest.raises(KeyError, match="no array is named 'w'; there are 'W', 'b'"):
        net.backward(np.ones((1, 2)))


def test_add_param_outside_allocate():
    class Early(cl.Layer):
        def __init__(self):
            self.add_param("W", (2, 2))

    with pytest.raises(RuntimeError, match=r"Early\(\): add_param and add_state are for allocate\(input_shape\)"):
        Early()


def test_an_output_shape_that_nobody_defined():
    class Halves(Cube):
        def forward(self, x, train=True):
            return x[:, ::2]

    match = r"forward gave shape \(1, 2\), but output_shape promises \(1, 4\): define output_shape\(input_shape\)"
    with pytest.raises(ValueError, match=match):
        Halves().forward(np.ones((1, 4)))


class Scaled(cl.Sequential):
    """A net with a forward and arguments of its own."""

    def __init__(self, units, scale=10.0):
        self.units, self.scale = units, scale
        super().__init__([cl.Affine(units), cl.BatchNorm(), cl.ReLU(), cl.Affine(2)], input_shape=(3,), rng=0)

    def forward(self, x, train=True):
        return self.scale * super().forward(x, train)

    def backward(self, dy, input_grad=True):
        return super().backward(self.scale * dy, input_grad)


def test_a_net_with_a_forward_of_its_own_predicts_by_it():
    net, x = Scaled(4), data()[0]
    assert cl.gradcheck(net, x[:4]).ok
    twin = net.copy()
    y = net.forward(x)
    twin.forward(x)
    np.testing.assert_array_equal(net.predict(x), net.copy().forward(x, train=False))
    np.testing.assert_array_equal(net.backward(y), twin.backward(y))
    assert cl.Sequential([Scaled(4), cl.Affine(2)], (3,), rng=1).predict(x).shape == (len(x), 2)


def test_a_net_with_arguments_of_its_own_is_saved_and_loaded(tmp_path):
    net = Scaled(5, scale=2.0)
    net.forward(data()[0])
    assert repr(net) == "Scaled(5, scale=2.0)"
    assert net.config() == {"units": 5, "scale": 2.0}
    net.flat_params[...] += 1
    net.save(tmp_path / "net.safetensors")
    loaded = cl.load(tmp_path / "net.safetensors", custom=[Scaled])
    assert repr(loaded) == repr(net)
    np.testing.assert_array_equal(loaded.predict(data()[0]), net.predict(data()[0]))


def test_a_config_that_a_file_cannot_hold(tmp_path):
    class Holds(Cube):
        def __init__(self, table):
            self.table = table

    for bad in ({1: "a"}, np.zeros(3), {1, 2}, print, object()):
        with pytest.raises(TypeError, match="a file cannot hold"):
            net_of(Holds(bad)).save(tmp_path / "net.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_config_with_a_dict_comes_back(tmp_path):
    class Table(Cube):
        def __init__(self, table):
            self.table = table

    table = {"a": [1, 2.5, None], "b": {"c": "d"}, "layer": "no layer"}
    net_of(Table(table)).save(tmp_path / "net.safetensors")
    net = cl.load(tmp_path / "net.safetensors", custom=(Table,))
    assert [layer.table for _, layer in net.walk() if isinstance(layer, Table)] == [table]


def test_a_build_of_ones_own_is_refused():
    with pytest.raises(
        TypeError, match=r"Builds overrides build\(\): define allocate\(input_shape\), which build\(\) calls"
    ):

        class Builds(Cube):
            def build(self, input_shape, *, rng=None, dtype=np.float32):
                return input_shape


@pytest.mark.parametrize("name", ["params", "grads", "state"])
def test_a_dict_of_ones_own_is_refused(name):
    layer = Linear(2)
    with pytest.raises(TypeError, match=rf"Linear: assign to the names in {name}, as in self\.{name}\[...\] = value"):
        setattr(layer, name, {})
    layer.build((3,), rng=0)
    arrays = getattr(layer, name)
    with pytest.raises(TypeError, match=f"Linear: assign to the names in {name}"):
        setattr(layer, name, dict(arrays))
    assert getattr(layer, name) is arrays


class HalfBody(cl.Residual):
    """A Residual with a backward of its own, which calls those of its parts."""

    def backward(self, dy, input_grad=True):
        return self.body.backward(0.5 * dy) + self.shortcut.backward(dy)


class ByHand(cl.Residual):
    """A Residual with a forward of its own."""

    def forward(self, x, train=True):
        return self.shortcut.forward(x, train) + self.body.forward(x, train)


class Sums(cl.Concat):
    """A Concat with a backward of its own."""

    def backward(self, dy, input_grad=True):
        first, second = self.branches
        return first.backward(np.ascontiguousarray(dy[:, :3])) + second.backward(np.ascontiguousarray(dy[:, 3:]))


class Products(cl.Multiply):
    """A Multiply with a forward of its own."""

    def forward(self, x, train=True):
        first, second = self.factors = [branch.forward(x, train) for branch in self.branches]
        return first * second

    def backward(self, dy, input_grad=True):
        (first, second), (one, other) = self.factors, self.branches
        return one.backward(dy * second) + other.backward(dy * first)


def parts():
    return [cl.Affine(3), cl.ReLU(), cl.Affine(3)], [cl.Affine(3)]


@pytest.mark.parametrize(
    ("mine", "ours"),
    [
        (lambda: ByHand(*parts()), lambda: cl.Residual(*parts())),
        (lambda: Sums(parts()), lambda: cl.Concat(parts())),
        (lambda: Products(parts()), lambda: cl.Multiply(parts())),
    ],
)
def test_a_container_with_one_pass_of_its_own(mine, ours):
    """Such a pass may call those of the layers within; the other one is the package's."""
    results = []
    for make in (mine, ours):
        net = cl.Sequential([make(), cl.ReLU()], (3,), rng=0)
        y = net.forward(data(4)[0])
        dx = net.backward(np.ones_like(y))
        results.append([array.tobytes() for array in (y, dx, net.flat_grads, net.predict(data(4)[0]))])
    assert results[0] == results[1]


def test_a_residual_with_a_backward_of_its_own():
    net = cl.Sequential([HalfBody(*parts())], (3,), rng=0)
    twin = cl.Sequential([cl.Residual(*parts())], (3,), rng=0)
    for one in (net, twin):
        one.backward(np.ones_like(one.forward(data(4)[0])))
    np.testing.assert_array_equal(2 * net[0].body.flat_grads, twin[0].body.flat_grads)


class Unrolled(cl.Sequential):
    """A net whose arguments have names that a container might want for itself."""

    def __init__(self, steps, last=True):
        self.steps, self.last = steps, last
        super().__init__([cl.Affine(3) for _ in range(steps)])


def test_names_of_arguments_are_the_users():
    net = cl.Sequential([Unrolled(2)], (3,), rng=0)
    assert net.backward(net.forward(data(4)[0])).shape == (4, 3)
    assert net.predict_proba(data(4)[0]).shape == (4, 3)
    assert net[0].config() == {"steps": 2, "last": True}


def test_a_method_around_a_nets_forward_leaves_its_predict_alone():
    net, calls = net_of(Cube()), []
    forward = net.forward
    net.forward = lambda x, train=True: calls.append(len(x)) or forward(x, train)
    y = net.forward(data(4)[0])
    net.predict(data(2)[0])
    assert net.backward(np.ones_like(y)).shape == (4, 3)
    assert calls == [4]


class Noise(cl.Layer):
    """Draws at inference too."""

    random = True

    def forward(self, x, train=True):
        return x + self.rng.standard_normal(x.shape)

    def backward(self, dy, input_grad=True):
        return dy


class Twice(cl.Sequential):
    def forward(self, x, train=True):
        return 2 * super().forward(x, train)


def test_a_net_with_a_forward_of_its_own_predicts_each_batch_afresh():
    net = Twice([Noise()], (3,), rng=0)
    y = net.predict(np.zeros((4, 3)), batch_size=2)
    np.testing.assert_array_equal(y[:2], y[2:])
