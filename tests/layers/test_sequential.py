"""Sequential: layers one after the other, and all that nets share."""

import copy
import pickle
import re
import threading

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.layers.layer import Layer
from cnnlayers.look import summary
from tests.html import tables_of, words_of, words_of_text
from tests.layers.common import batch


def convnet(**options):
    """Make a small net with everything in it: state, random draws, an inner net, a projection."""
    layers = [
        cl.Conv(4, 3, padding="same"),
        cl.BatchNorm(),
        cl.ReLU(),
        cl.Residual(
            [cl.Conv(6, (3, 2), stride=2, padding=((1, 1), (0, 1))), cl.BatchNorm()], shortcut=cl.Conv(6, 1, 2)
        ),
        cl.Sequential([cl.ReLU(), cl.Dropout(0.3)]),
        cl.GlobalAvgPool(),
        cl.Affine(3),
    ]
    return cl.Sequential(layers, **({"input_shape": (6, 8, 2), "rng": 0} | options))


def mlp(**options):
    layers = [cl.Affine(4), cl.Tanh(), cl.Affine(2)]
    return cl.Sequential(layers, **({"input_shape": (3,), "rng": 0} | options))


def images(n=4, seed=0, dtype=np.float32):
    return batch(n, 6, 8, 2, dtype=dtype, seed=seed)


def notes(error):
    return getattr(error.value, "__notes__", [])


def assert_consistent(net):
    """Every array of every layer within is a view of the net's flat ones, in order, under its dotted name."""
    for key, flat in (("params", net.flat_params), ("grads", net.flat_grads), ("state", net.flat_state)):
        arrays = getattr(net, key)
        assert flat.dtype == net.dtype
        assert flat.flags.c_contiguous
        np.testing.assert_array_equal(flat, np.concatenate([np.zeros(0), *(a.ravel() for a in arrays.values())]))
        start = flat.ctypes.data
        for array in arrays.values():
            assert array.ctypes.data == start
            start += array.nbytes
        assert start == flat.ctypes.data + flat.nbytes
        for name, layer in net.walk():
            for own, array in getattr(layer, key).items():
                assert arrays[f"{name}.{own}" if name else own] is array
    assert list(net.grads) == list(net.params)
    for name, layer in net.walk():
        assert layer.built, name
        for key in ("flat_params", "flat_grads", "flat_state"):
            part = getattr(layer, key)
            assert part.size == 0 or np.shares_memory(part, getattr(net, key))


# By hand


def test_by_hand():
    net = cl.Sequential([cl.Affine(2), cl.ReLU(), cl.Affine(1)], input_shape=(2,))
    net.params["0.W"], net.params["0.b"] = [[1, -1], [2, 0]], [0, 1]
    net.params["2.W"], net.params["2.b"] = [[3], [5]], [-1]
    # rows (1, 1): scores (3, 0), ReLU (3, 0), y 8; (-1, 0): (-1, 2), (0, 2), 9
    np.testing.assert_array_equal(net.forward([[1, 1], [-1, 0]]), [[8], [9]])
    dx = net.backward([[1], [10]])
    np.testing.assert_array_equal(net.grads["2.W"], [[3], [20]])
    np.testing.assert_array_equal(net.grads["2.b"], [11])
    np.testing.assert_array_equal(net.grads["0.W"], [[3, -50], [3, 0]])
    np.testing.assert_array_equal(net.grads["0.b"], [3, 50])
    np.testing.assert_array_equal(dx, [[3, 6], [-50, 0]])


def test_it_is_its_layers_one_after_the_other():
    net = convnet()
    y = x = images()
    twin = net.copy()
    for layer in twin:
        y = layer.forward(y)
    np.testing.assert_array_equal(net.forward(x), y)
    delta = batch(4, 3, dtype=np.float32, seed=1)
    dx = net.backward(delta)
    for layer in reversed(twin.layers):
        delta = layer.backward(delta)
    np.testing.assert_array_equal(dx, delta)
    np.testing.assert_array_equal(net.flat_grads, twin.flat_grads)


def test_no_layers_is_the_identity():
    net = cl.Sequential([], input_shape=(3,))
    x = batch(2, 3, dtype=np.float32)
    np.testing.assert_array_equal(net.forward(x), x)
    np.testing.assert_array_equal(net.backward(x), x)
    np.testing.assert_array_equal(net.predict(x), x)
    assert net.flat_params.size == 0


@pytest.mark.parametrize("train", [True, False])
def test_gradients_agree_with_numeric_ones(train):
    net = convnet(dtype=np.float64)
    report = cl.gradcheck(net, images(3, dtype=np.float64), train=train, samples=40)
    assert report.ok, report


def test_gradients_of_a_net_with_its_loss_agree_with_numeric_ones():
    net = convnet(dtype=np.float64)
    report = cl.gradcheck(net, images(3, dtype=np.float64), cl.SoftmaxLoss(), [0, 2, 1], samples=40)
    assert report.ok, report


# The layers as given


def test_layers_are_as_given():
    layers = [cl.Affine(4), cl.ReLU(), cl.Affine(2)]
    net = cl.Sequential(iter(layers))
    assert net.layers == tuple(layers)
    assert list(net) == layers
    assert len(net) == 3
    assert net[0] is layers[0]
    assert net[-1] is layers[2]
    assert net[1:] == tuple(layers[1:])
    with pytest.raises(IndexError):
        net[3]


def test_walk_gives_containers_before_what_they_hold():
    names = [name for name, _ in convnet().walk()]
    within = ["3", "3.body", "3.body.0", "3.body.1", "3.shortcut", "4", "4.0", "4.1"]
    assert names == ["", "0", "1", "2", *within, "5", "6"]


def test_repr_makes_an_equal_net():
    net = convnet()
    again = eval(repr(net), vars(cl).copy())
    assert repr(again) == repr(net)
    again.build((6, 8, 2), rng=0)
    np.testing.assert_array_equal(again.flat_params, net.flat_params)


def test_config_makes_an_equal_net():
    net = convnet()
    net[0].trainable = False
    again = cl.Sequential(**net.config())
    assert repr(again) == repr(net)
    assert not again.built
    assert [layer.trainable for layer in again] == [layer.trainable for layer in net]
    again.build((6, 8, 2), rng=0)
    np.testing.assert_array_equal(again.flat_params, net.flat_params)
    assert not np.shares_memory(again.flat_params, net.flat_params)


def test_what_is_not_fused_stays_so(tmp_path):
    net = cl.Sequential([cl.Residual(cl.Sequential([cl.Affine(3), cl.ReLU()], fuse=False))], input_shape=(3,), rng=0)
    assert repr(net) == "Sequential([Residual(Sequential([Affine(3), ReLU()], fuse=False))])"
    net.save(tmp_path / "net.safetensors")
    loaded = cl.load(tmp_path / "net.safetensors")
    assert repr(loaded) == repr(net)
    assert (loaded.fuse, loaded[0].body.fuse) == (True, False)


# Arrays


def test_dotted_names():
    net = convnet()
    affine, bn = ["W", "b"], ["gamma", "beta"]
    expected = [*(f"0.{n}" for n in affine), *(f"1.{n}" for n in bn), *(f"3.body.0.{n}" for n in affine)]
    expected += [*(f"3.body.1.{n}" for n in bn), *(f"3.shortcut.{n}" for n in affine), *(f"6.{n}" for n in affine)]
    assert list(net.params) == list(net.grads) == expected
    stats = ["running_mean", "running_var"]
    assert list(net.state) == [*(f"1.{n}" for n in stats), *(f"3.body.1.{n}" for n in stats)]
    assert net.params["3.body.1.gamma"] is net[3].body[1].params["gamma"]
    assert net.params["3.shortcut.W"] is net[3].shortcut.params["W"]
    assert net.params["3.shortcut.W"].shape == (1, 1, 4, 6)


def test_arrays_are_views_of_the_flat_ones_in_order():
    net = convnet()
    assert_consistent(net)
    net.flat_params[...] = np.arange(net.flat_params.size)
    assert net.params["0.W"][0, 0, 0, 1] == 1
    assert net[6].params["b"][-1] == net.flat_params.size - 1


def test_an_inner_flat_array_is_a_slice_of_the_outer():
    net = convnet()
    start = sum(net.params[name].size for name in ("0.W", "0.b", "1.gamma", "1.beta"))
    inner = net[3].flat_params
    assert inner.base is not None
    np.testing.assert_array_equal(inner, net.flat_params[start : start + inner.size])
    inner[0] = 123
    assert net.flat_params[start] == net[3].body[0].params["W"][0, 0, 0, 0] == 123
    net[3].params["body.0.b"] = np.arange(6)
    np.testing.assert_array_equal(net.params["3.body.0.b"], np.arange(6))


def test_assigning_copies_into_the_view():
    net = mlp()
    view, mine = net.params["0.W"], np.ones((3, 4))
    net.params["0.W"] = mine
    mine[...] = 5
    assert net.params["0.W"] is net[0].params["W"] is view
    np.testing.assert_array_equal(net.flat_params[:12], 1)
    net.params.update({"0.b": [1, 2, 3, 4]})
    net.params |= {"2.b": [8, 9]}
    np.testing.assert_array_equal(net[0].params["b"], [1, 2, 3, 4])
    np.testing.assert_array_equal(net.flat_params[-2:], [8, 9])
    assert_consistent(net)


def test_arrays_that_do_not_fit_are_refused():
    net = mlp()
    before = net.flat_params.copy()
    with pytest.raises(ValueError, match=r"'0.W' has shape \(3, 4\); got shape \(4, 3\)"):
        net.params["0.W"] = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"'0.W' has shape \(3, 4\); got shape \(4,\)"):
        net.params["0.W"] = np.ones(4)  # NumPy would broadcast
    with pytest.raises(TypeError, match=r"'0.W' needs real numbers .*; got dtype complex128"):
        net.params["0.W"] = np.ones((3, 4), complex)
    with pytest.raises(KeyError, match=r"no array is named '9.W'"):
        net.params["9.W"] = np.ones(3)
    for remove in (lambda p: p.pop("0.W"), lambda p: p.clear(), lambda p: p.__delitem__("0.W")):
        with pytest.raises(TypeError, match="cannot be removed"):
            remove(net.params)
    np.testing.assert_array_equal(net.flat_params, before)


def test_arrays_are_the_same_objects_through_training():
    net = convnet()
    held = {key: dict(getattr(net, key)) for key in ("params", "grads", "state")}
    optimizer, loss = cl.SGD(lr=0.1, momentum=0.9), cl.SoftmaxLoss()
    for _ in range(2):
        loss.forward(net.forward(images()), [0, 1, 2, 0])
        net.backward(loss.backward(), input_grad=False)
        optimizer.step(net)
    for key, arrays in held.items():
        assert all(getattr(net, key)[name] is array for name, array in arrays.items())
    assert_consistent(net)


# Building, joining, failing


def test_an_unbuilt_net_builds_itself_from_x():
    net = cl.Sequential([cl.Conv(3, 2), cl.Flatten(), cl.Affine(2)])
    assert not net.built
    with pytest.raises(RuntimeError, match="Sequential is not built yet: give it an input_shape"):
        net.flat_params  # noqa: B018
    with pytest.raises(RuntimeError, match="Sequential has no parameters yet"):
        net.predict(np.zeros((1, 4, 4, 1)))
    with pytest.raises(RuntimeError, match="Sequential is not built yet"):
        net.summary()
    assert net.forward(np.zeros((5, 4, 4, 1))).shape == (5, 2)
    assert net.input_shape == (4, 4, 1)
    assert net.dtype == np.float32
    assert_consistent(net)


def test_build_gives_the_output_shape():
    net = cl.Sequential([cl.Conv(3, 2), cl.MaxPool(2)])
    assert net.build([7, np.int64(5), 1], rng=np.random.default_rng(0), dtype="float64") == (3, 2, 3)
    assert net.dtype == net[0].dtype == np.float64


@pytest.mark.parametrize("how", ["build", "forward", "solver"])
def test_rng_and_dtype_hold_whenever_a_net_is_built(how):
    x = np.ones((4, 5), np.float32)

    def build(net):
        if how == "build":
            net.build((5,))
        elif how == "forward":
            net.forward(x)
        else:
            cl.Solver(net, (x, x[:, :2]), loss=cl.MSELoss(), optimizer=cl.SGD(lr=0), rng=9, progress=False).train(1)
        return net

    later = build(cl.Sequential([cl.Affine(3), cl.Affine(2)], rng=4, dtype=np.float64))
    at_once = cl.Sequential([cl.Affine(3), cl.Affine(2)], (5,), rng=4, dtype=np.float64)
    np.testing.assert_array_equal(later.flat_params, at_once.flat_params)
    assert later.dtype == np.float64
    given = cl.Sequential([cl.Affine(2)], rng=4, dtype=np.float64)
    given.build((5,), rng=5, dtype=np.float32)
    np.testing.assert_array_equal(given.flat_params, cl.Sequential([cl.Affine(2)], (5,), rng=5).flat_params)


def test_rng_and_dtype_are_checked_before_a_net_is_built():
    with pytest.raises(TypeError, match="rng must be an int"):
        cl.Sequential([cl.Affine(3)], rng="abc")
    with pytest.raises(TypeError, match="Sequential: dtype must be float32 or float64; got 'int8'"):
        cl.Sequential([cl.Affine(3)], dtype="int8")


def test_the_same_seed_gives_the_same_bits():
    one, two, other = convnet(rng=3), convnet(rng=3), convnet(rng=4)
    np.testing.assert_array_equal(one.flat_params, two.flat_params)
    assert (one.flat_params != other.flat_params).any()
    for _ in range(2):
        np.testing.assert_array_equal(one.forward(images()), two.forward(images()))
    one.backward(np.ones((4, 3)))
    two.backward(np.ones((4, 3)))
    np.testing.assert_array_equal(one.flat_grads, two.flat_grads)


def test_layers_of_one_net_draw_apart():
    net = cl.Sequential([cl.Affine(3), cl.Affine(3)], input_shape=(3,), rng=0)
    assert (net.params["0.W"] != net.params["1.W"]).all()


SHAPE_ERRORS = {
    "a kernel that does not fit": (
        lambda: [cl.Conv(16, 3), cl.ReLU(), cl.MaxPool(2), cl.Conv(16, 5)],
        (10, 18, 3),
        r"Conv\(16, 5\): a 5x5 kernel does not fit in a 4x8 image padded by 0",
        ["in layer 3 of Sequential, after MaxPool(2)"],
    ),
    "the first layer": (
        lambda: [cl.Conv(16, 3), cl.ReLU()],
        (784,),
        r"Conv\(16, 3\) needs images \(N, H, W, C\) or signals \(N, L, C\); got shape \(N, 784\)",
        ["in layer 0 of Sequential"],
    ),
    "no Flatten": (
        lambda: [cl.Conv(2, 3), cl.Affine(10)],
        (8, 8, 1),
        r"Affine\(10\) needs rows \(N, D\); got shape \(N, 6, 6, 2\): put Flatten\(\) before it",
        ["in layer 1 of Sequential, after Conv(2, 3)"],
    ),
    "deep within": (
        lambda: [cl.ReLU(), cl.Residual([cl.ReLU(), cl.Sequential([cl.MaxPool(2), cl.Conv(1, 4)])])],
        (4, 4, 1),
        r"Conv\(1, 4\): a 4x4 kernel does not fit in a 2x2 image padded by 0",
        [
            "in layer 1 of Sequential, after MaxPool(2)",
            "in layer 1 of Sequential, after ReLU()",
            "in the body of Residual",
            "in layer 1 of Sequential, after ReLU()",
        ],
    ),
}


@pytest.mark.parametrize("case", SHAPE_ERRORS)
def test_shape_errors_come_at_construction_and_say_where(case):
    make, shape, message, where = SHAPE_ERRORS[case]
    layers = make()
    with pytest.raises(ValueError, match=message) as error:
        cl.Sequential(layers, input_shape=shape)
    assert notes(error) == where
    assert not any(layer.built for layer in layers)


@pytest.mark.parametrize("bad", [None, 3, "ReLU", cl.ReLU, [cl.ReLU()]])
def test_what_is_no_layer(bad):
    good = cl.Affine(2)
    with pytest.raises(TypeError, match=r"Sequential needs layers; got " + re.escape(repr(bad))):
        cl.Sequential([good, bad])
    cl.Sequential([good], input_shape=(3,))  # it is free


@pytest.mark.parametrize("bad", [None, 3, cl.ReLU()])
def test_what_is_no_list_of_layers(bad):
    with pytest.raises(TypeError, match="Sequential needs a list of layers; got"):
        cl.Sequential(bad)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"input_shape": (3.0,)}, TypeError, r"Sequential: a size must be an int; got 3\.0"),
        ({"input_shape": (-3,)}, ValueError, "Sequential: a size must be 0 or more; got -3"),
        ({"input_shape": 3}, TypeError, r"Sequential: a shape is a tuple of integers"),
        ({"input_shape": ()}, ValueError, "Sequential needs an input with at least one axis besides the batch"),
        ({"dtype": np.float16}, TypeError, "Sequential: dtype must be float32 or float64"),
        ({"rng": True}, TypeError, "rng must be an int"),
        ({"rng": -1}, ValueError, "rng must be 0 or more"),
    ],
)
def test_options_out_of_range(options, kind, message):
    layers = [cl.Affine(2)]
    with pytest.raises(kind, match=message):
        cl.Sequential(layers, **({"input_shape": (3,)} | options))
    assert cl.Sequential(layers, input_shape=(3,)).built


def test_a_layer_belongs_to_one_net():
    layer = cl.Affine(3)
    with pytest.raises(ValueError, match=r"Affine\(3\) belongs to a net already: use its copy\(\) here"):
        cl.Sequential([layer, layer], input_shape=(3,))
    net = cl.Sequential([layer, cl.Residual([layer.copy()])], input_shape=(3,), rng=0)
    with pytest.raises(ValueError, match=r"Affine\(3\) belongs to a net already: use its copy\(\) here"):
        cl.Sequential([cl.ReLU(), net[0]])
    with pytest.raises(ValueError, match=r"Affine\(3\) belongs to a net already: use its copy\(\) here"):
        cl.Residual(net[1].body[0])
    with pytest.raises(ValueError, match=r"belongs to a net already: use its copy\(\) here"):
        cl.Sequential([net[1]])
    other = cl.Sequential([net[0].copy(), net[1].copy()], input_shape=(3,))
    np.testing.assert_array_equal(other.flat_params, net.flat_params)
    assert not np.shares_memory(other.flat_params, net.flat_params)


def test_joining_keeps_a_built_layers_values():
    mine = cl.Affine(3)
    mine.build((4,), rng=5)
    values = mine.params["W"].copy()
    inner = cl.Sequential([cl.Affine(2)], input_shape=(3,), rng=6)
    inner_values = inner.params["0.W"].copy()
    net = cl.Sequential([cl.Affine(4), mine, inner], input_shape=(2,), rng=0)
    np.testing.assert_array_equal(net.params["1.W"], values)
    np.testing.assert_array_equal(net.params["2.0.W"], inner_values)
    assert net.params["1.W"] is mine.params["W"]
    assert net.params["2.0.W"] is inner.params["0.W"]
    assert_consistent(net)


def test_joining_keeps_running_statistics():
    bn = cl.BatchNorm()
    bn.forward(batch(8, 3, dtype=np.float32))
    mean = bn.state["running_mean"].copy()
    net = cl.Sequential([bn], input_shape=(3,))
    np.testing.assert_array_equal(net.state["0.running_mean"], mean)


def test_a_built_layer_that_does_not_fit():
    mine = cl.Affine(3)
    mine.build((4,), rng=5)
    with pytest.raises(ValueError, match=r"Affine\(3\) was built for \(N, 4\); got shape \(N, 5\)") as error:
        cl.Sequential([cl.Affine(5), mine], input_shape=(2,))
    assert notes(error) == ["in layer 1 of Sequential, after Affine(5)"]
    with pytest.raises(
        ValueError, match=r"Affine\(3\) was built in float32; it cannot join a net in float64: use astype"
    ):
        cl.Sequential([cl.Affine(4), mine], input_shape=(2,), dtype=np.float64)
    values = mine.params["W"].copy()
    net = cl.Sequential([cl.Affine(4), mine], input_shape=(2,))  # it is free, and as it was
    np.testing.assert_array_equal(net.params["1.W"], values)


def test_a_built_net_may_join_at_another_image_size():
    inner = cl.Sequential([cl.Conv(2, 3), cl.GlobalAvgPool()], input_shape=(5, 5, 1), rng=0)
    net = cl.Sequential([inner, cl.Affine(2)], input_shape=(9, 7, 1), rng=0)
    assert inner[0].input_shape == (9, 7, 1)
    assert f"{7 * 5 * 9 * 2 + 2 * 2:,}" in net.summary().splitlines()[-1]
    assert net.forward(np.zeros((1, 9, 7, 1))).shape == (1, 2)


def test_a_failed_construction_leaves_its_layers_as_they_were():
    def broken(shape, rng, dtype):
        raise ZeroDivisionError("mine")

    built = cl.Affine(3)
    built.build((2,), rng=1)
    values = built.params["W"].copy()
    layers = [built, cl.Affine(4), cl.Residual([cl.Affine(4)]), cl.Dropout(0.5)]
    inner = layers[2].body[0]
    bad = cl.Affine(2, init=broken)
    with pytest.raises(ZeroDivisionError, match="mine") as error:
        cl.Sequential([*layers, bad], input_shape=(2,), rng=0)
    assert notes(error) == ["in layer 4 of Sequential, after Dropout(0.5)"]
    assert built.built
    np.testing.assert_array_equal(built.params["W"], values)
    for layer in (*layers[1:], inner, bad):
        assert not layer.built
        assert not layer.params
        assert not layer.grads
    fresh = cl.Sequential([built.copy(), *(layer.copy() for layer in layers[1:])], input_shape=(2,), rng=0)
    net = cl.Sequential(layers, input_shape=(2,), rng=0)
    np.testing.assert_array_equal(net.flat_params, fresh.flat_params)
    assert_consistent(net)


def test_a_failed_lazy_build_can_be_repeated():
    net = cl.Sequential([cl.Conv(2, 3), cl.Flatten(), cl.Affine(2)])
    with pytest.raises(ValueError, match="does not fit"):
        net.forward(np.zeros((1, 2, 2, 1)))
    assert not net.built
    assert not net[0].built
    assert net.forward(np.zeros((1, 4, 4, 1))).shape == (1, 2)


def test_building_again_keeps_the_values():
    net = mlp()
    before = net.flat_params.copy()
    assert net.build((3,), rng=9) == (2,)
    np.testing.assert_array_equal(net.flat_params, before)
    with pytest.raises(ValueError, match=r"Affine\(4\) was built for \(N, 3\); got shape \(N, 5\)"):
        net.build((5,))
    assert_consistent(net)


# Forward and backward


def test_without_the_input_gradient_the_rest_is_the_same():
    net, x, dy = convnet(), images(), batch(4, 3, dtype=np.float32, seed=1)
    twin = net.copy()
    net.forward(x)
    twin.forward(x)
    assert net.backward(dy).shape == x.shape
    assert twin.backward(dy, input_grad=False) is None
    np.testing.assert_array_equal(net.flat_grads, twin.flat_grads)


def test_backward_goes_once():
    net = mlp()
    with pytest.raises(RuntimeError, match=r"Sequential: backward\(\) needs a forward\(\) before it"):
        net.backward(np.ones((1, 2)))
    net.forward(np.ones((1, 3)))
    net.backward(np.ones((1, 2)))
    with pytest.raises(RuntimeError, match=r"Sequential: backward\(\) needs a forward\(\) before it"):
        net.backward(np.ones((1, 2)))


def test_errors_in_use_say_where():
    net = mlp()
    with pytest.raises(ValueError, match=r"Affine\(4\) was built for \(N, 3\); got shape \(N, 5\)") as error:
        net.forward(np.ones((1, 5)))
    assert "in layer 0 of Sequential" in notes(error)
    with pytest.raises(ValueError, match=r"Affine\(4\) needs rows \(N, D\); got shape \(N, 3, 1\)") as error:
        net.forward(np.ones((1, 3, 1)))
    assert "in layer 0 of Sequential" in notes(error)
    with pytest.raises(ValueError, match=r"Affine\(4\) was built for \(N, 3\); got shape \(N, 5\)"):
        net.predict(np.ones((1, 5)))
    for call in (net.forward, net.predict):
        with pytest.raises(ValueError, match=r"Sequential needs a batch \(N, 3\); got a single number"):
            call(1.0)
        with pytest.raises(TypeError, match="Sequential needs real numbers"):
            call(np.ones((1, 3), complex))
    net.forward(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"Sequential: dy must have the shape of y, \(1, 2\); got shape \(2, 1\)"):
        net.backward(np.ones((2, 1)))


def test_an_error_in_a_layer_leaves_no_backward_pending():
    class Fails(Layer):
        def forward(self, x, train=True):
            if x.max() > 1:
                raise ZeroDivisionError("mine")
            return x.copy()

        def backward(self, dy, input_grad=True):
            return dy

    net = cl.Sequential([cl.Affine(2), Fails()], input_shape=(2,))
    net.params["0.W"] = np.eye(2)
    net.forward(np.ones((1, 2)))
    with pytest.raises(ZeroDivisionError, match="mine") as error:
        net.forward(np.full((1, 2), 5))
    assert notes(error) == ["in layer 1 of Sequential, after Affine(2)"]
    with pytest.raises(RuntimeError, match="needs a forward"):
        net.backward(np.ones((1, 2)))


def test_no_returned_array_is_ever_overwritten():
    net, x = convnet(), images()
    held = []
    for seed in range(3):
        y = net.forward(images(seed=seed))
        held += [y, net.backward(batch(4, 3, dtype=np.float32, seed=seed)), net.predict(x), net.predict_proba(x)]
        copies = [a.copy() for a in held]
        net.predict(images(seed=9))
        net.backward(net.forward(images(2, seed=8))[:, :] * 2)
        for a, b in zip(held, copies, strict=True):
            np.testing.assert_array_equal(a, b)


def test_images_of_other_sizes_through_a_fully_convolutional_net():
    net = cl.Sequential([cl.Conv(2, 3), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(2)], input_shape=(5, 6, 1), rng=0)
    large = batch(2, 9, 7, 1, dtype=np.float32)
    y = net.forward(large)
    assert net.backward(y).shape == large.shape
    np.testing.assert_array_equal(net.predict(large), y)
    assert net.input_shape == (5, 6, 1)
    assert net.forward(np.zeros((3, 5, 6, 1))).shape == (3, 2)
    with pytest.raises(ValueError, match=r"Conv\(2, 3\) was built for \(N, 5, 6, 1\); got shape \(N, 5, 6, 3\)"):
        net.forward(np.zeros((3, 5, 6, 3)))
    with pytest.raises(ValueError, match="does not fit in a 2x2 image"):
        net.forward(np.zeros((3, 2, 2, 1)))
    fixed = cl.Sequential([cl.Conv(2, 3), cl.Flatten(), cl.Affine(2)], input_shape=(5, 6, 1), rng=0)
    with pytest.raises(ValueError, match=r"Flatten\(\) was built for \(N, 3, 4, 2\); got shape \(N, 7, 5, 2\)"):
        fixed.forward(large)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_net_holds_whatever_comes_in(dtype):
    net = convnet(dtype=dtype)
    for x in (images(), images(dtype=np.float64), np.ones((4, 6, 8, 2), np.uint8)):
        y = net.forward(x)
        dx = net.backward(y.astype(np.float64))
        assert y.dtype == dx.dtype == net.predict(x).dtype == net.predict_proba(x).dtype == dtype
    assert net.flat_grads.dtype == net.flat_state.dtype == dtype


# Predict


def test_predict_is_forward_at_inference():
    net, x = convnet(), images()
    net.forward(x)
    np.testing.assert_array_equal(net.predict(x), net.forward(x, train=False))


def test_predict_writes_nothing():
    net, x = convnet(), images()
    twin = net.copy()
    net.forward(x)
    twin.forward(x)
    state = net.flat_state.copy()
    net.predict(images(7, seed=3), batch_size=2)
    net.predict_proba(images(7, seed=3))
    np.testing.assert_array_equal(net.flat_state, state)
    dy = batch(4, 3, dtype=np.float32, seed=1)
    np.testing.assert_array_equal(net.backward(dy), twin.backward(dy))
    np.testing.assert_array_equal(net.flat_grads, twin.flat_grads)
    np.testing.assert_array_equal(net.forward(x), twin.forward(x))  # the dropout's draws go on as if nothing was


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 8, np.int64(5)])
def test_the_batch_size_of_predict_has_no_influence(batch_size):
    net, x = convnet(dtype=np.float64), images(7, dtype=np.float64)
    np.testing.assert_allclose(net.predict(x, batch_size=batch_size), net.predict(x), rtol=1e-13)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None])
def test_batch_sizes_that_are_none(bad):
    with pytest.raises((TypeError, ValueError), match=r"Sequential.predict: batch_size must be"):
        mlp().predict(np.ones((1, 3)), batch_size=bad)


def test_an_empty_batch():
    net = convnet()
    empty = np.zeros((0, 6, 8, 2))
    assert net.predict(empty).shape == net.predict_proba(empty).shape == (0, 3)
    state = net.flat_state.copy()
    net.flat_grads[...] = 7
    assert net.forward(empty).shape == (0, 3)
    assert net.backward(np.zeros((0, 3))).shape == empty.shape
    np.testing.assert_array_equal(net.flat_grads, 0)
    np.testing.assert_array_equal(net.flat_state, state)


def test_many_threads_may_predict_at_once():
    net = convnet()
    inputs = [images(6, seed=i) for i in range(8)]
    expected = [net.predict(x) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(20):
            if not np.array_equal(net.predict(inputs[i], batch_size=6), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_probabilities():
    net, x = mlp(), batch(5, 3)
    scores = net.predict(x)
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(net.predict_proba(x), p, rtol=1e-6)
    for last in (cl.Softmax(), cl.Sequential([cl.Softmax()])):
        ends = cl.Sequential([net.copy(), last], input_shape=(3,))
        np.testing.assert_allclose(ends.predict_proba(x), p, rtol=1e-6)
        np.testing.assert_array_equal(ends.predict_proba(x), ends.predict(x))
    inside = cl.Sequential([net.copy(), cl.Residual([cl.Softmax()])], input_shape=(3,))
    np.testing.assert_allclose(inside.predict_proba(x).sum(axis=1), 1, rtol=1e-6)


# Summary


def test_summary_by_hand():
    net = cl.Sequential(
        [cl.Conv(4, (3, 2)), cl.ReLU(), cl.Residual([cl.BatchNorm()]), cl.Flatten(), cl.Affine(10)],
        input_shape=(8, 8, 1),
        rng=0,
    )
    lines = net.summary().splitlines()
    assert lines[0].split("  ")[0] == "layer"
    rows = {
        line.split("  ")[0].strip() if line[0] != " " else line.strip().split("  ")[0]: line.split() for line in lines
    }
    # images 6 x 7 x 4 = 168 numbers of 4 bytes; Conv: 168 outputs of 3 * 2 * 1 products; Affine: 168 * 10
    assert rows["0: Conv(4, (3, 2))"][-3:] == ["28", "1,008", "672"]
    assert rows["1: ReLU()"][-3:] == ["0", "0", "672"]
    assert rows["2.body.0: BatchNorm()"][-3:] == ["8", "0", "672"]
    assert rows["4: Affine(10)"][-3:] == ["1,690", "1,680", "40"]
    assert rows["4: Affine(10)"][-4] == "(10,)"
    assert rows["total"] == ["total", "1,726", "2,688", f"{4 * 168 * 4 + 40:,}"]
    assert "(6, 7, 4)" in lines[3]
    assert max(map(len, lines)) == len(lines[1])


def test_a_notebook_shows_the_summary():
    net = cl.Sequential([cl.Conv(4, 3, init="zeros"), cl.Residual([cl.ReLU()])], input_shape=(8, 8, 1), rng=0)
    for shown in (net, net[0], net[1]):
        assert words_of(shown._repr_html_()) == words_of_text(summary.table(shown))
    net[0].trainable = False
    assert tables_of(net._repr_html_())[0][-1] == ["trained", "", "0", "", ""]
    names = [row[0] for row in tables_of(net._repr_html_())[0]]
    assert names[:4] == ["layer", "Sequential", "0: Conv(4, 3, init='zeros')", "1: Residual"]


def test_a_notebook_shows_the_layers_of_a_net_that_is_not_built():
    net = cl.Sequential([cl.Conv(4, 3), cl.Residual([cl.ReLU()])])
    html = net._repr_html_()
    assert tables_of(html) == [
        [["layer"], ["Sequential"], ["0: Conv(4, 3)"], ["1: Residual"], ["1.body: Sequential"], ["1.body.0: ReLU()"]]
    ]
    assert " ".join(words_of(html)).endswith("not built yet: shapes come with the first batch")
    assert cl.Conv(4, 3)._repr_html_() is None  # its repr says it all
    assert not net.built


def test_a_layer_whose_name_is_markup_is_escaped():
    class Odd(cl.ReLU):
        @property
        def who(self):
            return "<b>Odd</b> & co."

    net = cl.Sequential([Odd()], input_shape=(3,))
    assert tables_of(net._repr_html_())[0][2][0] == "0: <b>Odd</b> & co."
    assert tables_of(net.plan._repr_html_())[0][1][0] == "0: <b>Odd</b> & co."


# Copies


def twins(net):
    return {"copy": net.copy(), "deepcopy": copy.deepcopy(net), "copy.copy": copy.copy(net)} | {
        f"pickle {protocol}": pickle.loads(pickle.dumps(net, protocol)) for protocol in (2, pickle.HIGHEST_PROTOCOL)
    }


def test_copies_are_equal_and_independent():
    net, x = convnet(), images()
    net.backward(net.forward(x))
    net.classes = ("a", "b", "c")
    for way, twin in twins(net).items():
        assert repr(twin) == repr(net), way
        assert twin.classes == ("a", "b", "c")
        assert_consistent(twin)
        for key in ("flat_params", "flat_grads", "flat_state"):
            np.testing.assert_array_equal(getattr(twin, key), getattr(net, key))
            assert not np.shares_memory(getattr(twin, key), getattr(net, key))
        with pytest.raises(ValueError, match="belongs to a net already"):
            cl.Sequential([twin[0]])
    assert_consistent(net)


def test_a_copy_draws_as_the_original_would():
    net, x = convnet(), images()
    for way, twin in twins(net).items():
        expected = twin.copy().forward(x)
        state = net[4][1].rng.bit_generator.state
        np.testing.assert_array_equal(twin.forward(x), expected, way)
        assert net[4][1].rng.bit_generator.state == state
    np.testing.assert_array_equal(net.forward(x), expected)


def test_what_a_copy_learns_the_original_does_not():
    net, x = convnet(), images()
    twin = net.copy()
    before = net.flat_params.copy(), net.flat_state.copy()
    twin.backward(twin.forward(x))
    cl.SGD(lr=1.0).step(twin)
    np.testing.assert_array_equal(net.flat_params, before[0])
    np.testing.assert_array_equal(net.flat_state, before[1])
    assert (twin.flat_params != net.flat_params).any()
    assert (twin.flat_state != net.flat_state).any()
    assert (net.flat_grads == 0).all()


def test_a_copy_has_no_backward_pending_and_the_original_keeps_its_own():
    net = mlp()
    y = net.forward(np.ones((2, 3)))
    with pytest.raises(RuntimeError, match="needs a forward"):
        net.copy().backward(y)
    assert net.backward(y).shape == (2, 3)


def test_a_copy_of_an_inner_layer_belongs_to_no_net():
    net = convnet()
    block = net[3].copy()
    np.testing.assert_array_equal(block.flat_params, net[3].flat_params)
    assert_consistent(block)
    joined = cl.Sequential([block], input_shape=(6, 8, 4))
    np.testing.assert_array_equal(joined.flat_params, net[3].flat_params)
    assert_consistent(joined)
    assert_consistent(net)


def test_a_copy_of_an_unbuilt_net():
    net = cl.Sequential([cl.Affine(3), cl.Dropout(0.5)])
    for twin in twins(net).values():
        assert not twin.built
        twin.build((2,), rng=0)
        assert_consistent(twin)
    assert not net.built


def test_astype():
    net = convnet()
    twin = net.astype(np.float64)
    assert {layer.dtype for _, layer in twin.walk()} == {np.dtype(np.float64)}
    assert_consistent(twin)
    np.testing.assert_array_equal(twin.flat_params, net.flat_params)
    np.testing.assert_allclose(twin.predict(images()), net.predict(images()), rtol=1e-3, atol=1e-5)
    assert net.dtype == net.flat_params.dtype == np.float32
    assert_consistent(net)
    np.testing.assert_array_equal(twin.astype("float32").flat_params, net.flat_params)
    with pytest.raises(TypeError, match="Sequential: dtype must be float32 or float64"):
        net.astype(np.float16)


# Freezing and weight decay


def test_a_frozen_layer_is_left_alone():
    net = mlp()
    net[0].trainable = False
    before = net.flat_params.copy()
    net.backward(net.forward(np.ones((2, 3))))
    assert (net[0].grads["W"] != 0).any()
    cl.SGD(lr=0.1, momentum=0.9, weight_decay=0.1, decay_all=True).step(net)
    np.testing.assert_array_equal(net.flat_params[:16], before[:16])
    assert (net.flat_params[16:] != before[16:]).all()


def test_freezing_a_container_freezes_all_within():
    net = convnet()
    net[3].trainable = False
    assert [name for name, layer in net.walk() if not layer.trainable] == [
        *("3", "3.body", "3.body.0", "3.body.1", "3.shortcut")
    ]
    before = net[3].flat_params.copy(), net[3].flat_state.copy()
    net.backward(net.forward(images()))
    cl.Adam().step(net)
    np.testing.assert_array_equal(net[3].flat_params, before[0])
    np.testing.assert_array_equal(net[3].flat_state, before[1])
    assert not net.copy()[3].body[0].trainable
    net.trainable = False
    assert net.param_runs() == []
    net.trainable = True
    assert all(layer.trainable for _, layer in net.walk())


def test_a_frozen_batch_norm_runs_on_running_statistics_and_keeps_them():
    net = cl.Sequential([cl.BatchNorm()], input_shape=(2,))
    net.state["0.running_mean"], net.state["0.running_var"] = [1, 2], [4, 16]
    net[0].trainable = False
    y = net.forward([[3, 10], [1, 2]])
    np.testing.assert_allclose(y, [[1, 2], [0, 0]], rtol=1e-5)
    np.testing.assert_array_equal(net.flat_state, [1, 2, 4, 16])


def test_weight_decay_runs():
    net = cl.Sequential([cl.Affine(4), cl.BatchNorm(), cl.Affine(2, bias=False), cl.Affine(3)], input_shape=(2,))
    # 0: W 0..8, b 8..12; 1: gamma, beta 12..20; 2: W 20..28; 3: W 28..34, b 34..37
    decays = [(slice(0, 8), True), (slice(8, 20), False), (slice(20, 34), True), (slice(34, 37), False)]
    assert net.param_runs() == decays
    assert net.param_runs(decay_all=True) == [(slice(0, 37), True)]
    net[2].trainable = False
    assert net.param_runs() == [*decays[:2], (slice(28, 34), True), (slice(34, 37), False)]
    assert net.param_runs(decay_all=True) == [(slice(0, 20), True), (slice(28, 37), True)]
