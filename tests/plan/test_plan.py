"""The plan of a net: made once, printed, gone through by every pass."""

import gc
import threading
import weakref

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.layers.guards import unguarded
from cnnlayers.plan import watching
from tests.html import tables_of, words_of, words_of_text
from tests.layers.common import CASES, built, data, gradient_for


def conv(filters=4):
    return cl.Conv(filters, 3, padding=1)


def small(**options):
    layers = [conv(), cl.BatchNorm(), cl.ReLU(), cl.MaxPool(2), cl.Flatten(), cl.Affine(3), cl.ReLU()]
    return cl.Sequential(layers, input_shape=(4, 4, 2), rng=0, **options)


def steps(net):
    """What runs, in order: each step's layer with what it has joined."""
    return [[type(layer).__name__ for layer in (step.layer, *step.joined)] for step in net.plan.walk()]


# By hand


def test_what_is_joined():
    assert steps(small()) == [["Conv"], ["BatchNorm"], ["MaxPool", "ReLU"], ["Flatten"], ["Affine", "ReLU"]]
    assert steps(small(fuse=False)) == [[type(layer).__name__] for layer in small()]


def test_a_relu_moves_after_a_maxpool():
    net = cl.Sequential([conv(), cl.ReLU(), cl.MaxPool(2), cl.ReLU()], input_shape=(4, 4, 2), rng=0)
    assert steps(net) == [["Conv"], ["MaxPool", "ReLU"], ["ReLU"]]


def test_a_net_within_a_net_is_run_as_its_layers():
    net = cl.Sequential([cl.Sequential([conv(), cl.Sequential([conv()])]), cl.ReLU()], input_shape=(4, 4, 2), rng=0)
    assert steps(net) == [["Conv"], ["Conv", "ReLU"]]


def test_a_residual_ends_in_its_sum():
    net = cl.Sequential([cl.Residual([conv(2), cl.ReLU(), conv(2)]), cl.ReLU()], input_shape=(4, 4, 2), rng=0)
    outer, first, last = net.plan.walk()
    assert (outer.relu, first.relu, last.relu) == (True, True, True)
    assert (outer.sums, first.sums, last.sums) == (False, False, True)


def test_a_body_that_cannot_end_in_the_sum_gets_a_step_for_it():
    net = cl.Residual([conv(2), cl.ReLU()])
    net.build((4, 4, 2), rng=0)
    assert [type(step).__name__ for step in net.plan.walk()] == ["ResidualStep", "ConvStep", "SumStep"]


def test_it_prints_what_runs():
    net = cl.Sequential([conv(), cl.ReLU(), cl.Residual([conv(), cl.BatchNorm()])], input_shape=(6, 5, 2), rng=0)
    assert str(net.plan).splitlines() == [
        "step                                 joined   output shape  forward  dL/dx   dL/dW",
        "-----------------------------------------------------------------------------------",
        "0: Conv(4, 3, padding=1)             ReLU()   (6, 5, 4)     direct   direct  direct",
        "2: Residual                                   (6, 5, 4)",
        "    2.body.0: Conv(4, 3, padding=1)           (6, 5, 4)     direct   direct  direct",
        "    2.body.1: BatchNorm()            the sum  (6, 5, 4)",
    ]
    assert str(net.for_inference().plan).splitlines()[0].split() == ["step", "joined", "output", "shape", "forward"]


def test_a_notebook_shows_what_runs():
    net = cl.Sequential([conv(), cl.ReLU(), cl.Residual([conv(), cl.BatchNorm()])], input_shape=(6, 5, 2), rng=0)
    only_views = cl.Sequential([cl.Flatten()], input_shape=(4,)).for_inference()
    for plan in (net.plan, net.for_inference().plan, only_views.plan):
        assert words_of(plan._repr_html_()) == words_of_text(str(plan))
    ((_, *rows),) = tables_of(net.plan._repr_html_())
    assert rows[1] == ["2: Residual", "", "(6, 5, 4)", "", "", ""]
    assert [len(tables_of(plan._repr_html_())) for plan in (net.for_inference().plan, only_views.plan)] == [2, 1]


def test_a_net_for_prediction_within_a_net_predicts_and_does_not_train():
    inner = small().for_inference()
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 2))
    expected = inner.predict(x)
    net = cl.Sequential([inner, cl.ReLU()], input_shape=(4, 4, 2))
    np.testing.assert_array_equal(net.predict(x), np.maximum(expected, 0))
    with pytest.raises(RuntimeError, match=r"it can predict\(\), not train"):
        net.forward(x)


# It holds as long as nobody touches a layer


def test_it_is_made_once():
    net = small()
    plan = net.plan
    net.backward(net.forward(np.ones((1, 4, 4, 2))))
    net.predict(np.ones((1, 4, 4, 2)))
    small()  # another net is no reason
    assert net.plan is plan


def test_a_layer_that_is_touched_runs_alone_until_it_is_not():
    net = small()
    joined = steps(net)
    net[0].forward = net[0].forward
    net[6].backward = net[6].backward
    assert steps(net) == [["Conv"], ["BatchNorm"], ["MaxPool", "ReLU"], ["Flatten"], ["Affine"], ["ReLU"]]
    del net[0].forward, net[6].backward
    assert steps(net) == joined
    with watching([net[2]], lambda *seen: None):
        assert steps(net)[1:4] == [["BatchNorm"], ["ReLU"], ["MaxPool"]]
    assert steps(net) == joined
    net.fuse = False
    assert steps(net) == steps(small(fuse=False))


def test_a_container_whose_layers_are_others_gets_a_new_one():
    x = np.ones((1, 4, 4, 2))
    net = cl.Sequential(
        [cl.Residual([conv(2)], [conv(2)]), conv(2), cl.Concat([[conv(2)], [conv(2)]]), cl.Multiply([[], [conv(4)]])],
        (4, 4, 2),
        rng=0,
    )
    for make in (
        lambda: setattr(net[2], "branches", net[2].branches[::-1]),
        lambda: setattr(net[3], "branches", net[3].branches[1:]),
        lambda: setattr(net[0], "shortcut", None),
        lambda: setattr(net[0], "body", cl.Sequential([])),
        lambda: setattr(net, "layers", net.layers[:-1]),
    ):
        before = net.predict(x)
        make()
        assert net.predict(x).tobytes() != before.tobytes()


@pytest.mark.parametrize(
    "make", [small, lambda: cl.Residual([conv(2)]), lambda: cl.Concat([conv(2)]), lambda: cl.Multiply([conv(2)])]
)
def test_a_net_that_nobody_holds_is_gone_at_once(make):
    """A plan does not hold its net: else both would stay, with all arrays, until the garbage collector comes."""
    x = np.ones((1, 4, 4, 2), np.float32)
    gc.disable()
    try:
        net = make()
        net.backward(net.forward(x))
        net.predict(x)
        ready = net.for_inference()
        ready.predict(x)
        gone = [weakref.ref(net), weakref.ref(ready)]
        plan = net.plan
        del net, ready
        assert [ref() for ref in gone] == [None, None]
        assert str(plan).startswith("step")
    finally:
        gc.enable()


def test_a_backward_goes_by_the_plan_of_its_forward():
    net, twin = small(), small()
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 4, 2)), np.ones((2, 3))
    net.forward(x)
    twin.forward(x)
    with watching([net[2]], lambda *seen: None):
        dx = net.backward(dy)
    assert dx.tobytes() == twin.backward(dy).tobytes()


def test_a_net_and_a_net_within_it_may_both_have_a_pass_pending():
    def nested():
        layers = [conv(), cl.Sigmoid(), cl.MaxPool(2), cl.Flatten(), cl.Affine(3), cl.Tanh()]
        return cl.Sequential([cl.Sequential(layers), cl.Tanh()], input_shape=(4, 4, 2), rng=0)

    net, twin = nested(), nested()
    x, y, dy = *np.random.default_rng(0).standard_normal((2, 5, 4, 4, 2)), np.ones((5, 3))
    net.forward(x)
    net[0].forward(y[:2])
    results = [net.backward(dy), net.flat_grads.copy(), net[0].backward(dy[:2]), net[0].flat_grads.copy()]
    twin.forward(x)
    expected = [twin.backward(dy), twin.flat_grads.copy()]
    twin[0].forward(y[:2])
    expected += [twin[0].backward(dy[:2]), twin[0].flat_grads.copy()]
    assert [a.tobytes() for a in results] == [a.tobytes() for a in expected]


def test_a_method_that_is_put_on_a_class_of_the_package_is_called(monkeypatch):
    monkeypatch.setattr(cl.Sigmoid, "forward", lambda layer, x, train=True: np.full_like(x, 7))
    net = cl.Sequential([conv(), cl.Sigmoid(), cl.ReLU()], input_shape=(4, 4, 2), rng=0)
    x = np.ones((1, 4, 4, 2))
    assert steps(net) == [["Conv"], ["Sigmoid"], ["ReLU"]]
    np.testing.assert_array_equal(net.forward(x), 7)
    np.testing.assert_array_equal(net.predict(x), 7)


def test_an_unbuilt_net_has_none():
    with pytest.raises(RuntimeError, match="Sequential is not built yet"):
        cl.Sequential([conv()]).plan  # noqa: B018


# What the steps rely on


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in CASES if not built(name).children()])
def test_a_layers_own_lines_give_clean_arrays(name, dtype):
    """A plan calls them without guards, so what they give must be what the next step needs."""
    layer, x = built(name, dtype), data(name, dtype=dtype)
    forward, backward = unguarded(type(layer))
    y = forward(layer, x, True)
    dx = backward(layer, gradient_for(y), True)
    assert y.shape == (len(x), *layer.output_shape(x.shape[1:]))
    assert dx.shape == x.shape
    for array in (y, dx):
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.aligned


def test_what_is_watched():
    net = small()
    seen = []
    with watching(net.leaves(), lambda layer, what, values: seen.append((type(layer).__name__, what))):
        net.backward(net.forward(np.ones((1, 4, 4, 2))))
    assert seen[:2] == [("Conv", "output"), ("BatchNorm", "output")]
    assert seen[-4:] == [
        ("Conv", "gradient of the output"),
        ("Conv", "gradient of 'W'"),
        ("Conv", "gradient of 'b'"),
        ("Conv", "gradient of the input"),
    ]


def test_threads_predict_by_one_plan():
    net, x = small(), np.random.default_rng(0).standard_normal((16, 4, 4, 2))
    y = net.forward(x[:3])
    expected = net.predict(x)
    given = [None] * 4
    threads = [threading.Thread(target=lambda i=i: given.__setitem__(i, net.predict(x))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(y.tobytes() == expected.tobytes() for y in given)
    assert net.backward(np.ones_like(y)).shape == (3, 4, 4, 2)


def test_without_a_gradient_of_x_backward_ends_at_the_first_parameters():
    layers = [cl.Normalize(2, 3), cl.Residual([cl.ReLU()]), cl.Conv(3, 3), cl.ReLU(), cl.Flatten(), cl.Affine(2)]
    net = cl.Sequential(layers, input_shape=(5, 5, 2), rng=0)
    x, dy = np.random.default_rng(0).normal(size=(4, 5, 5, 2)), np.ones((4, 2))
    net.forward(x)
    dx = net.backward(dy)
    expected = net.flat_grads.copy()
    assert dx.shape == x.shape
    called = []
    steps = net.plan.chain.steps
    for step in steps:
        step.backward = lambda *args, step=step, **options: (
            called.append(step) or type(step).backward(step, *args, **options)
        )
    net.forward(x)
    assert net.backward(dy, input_grad=False) is None
    np.testing.assert_array_equal(net.flat_grads, expected)
    assert called == steps[:1:-1]
    assert not steps[0]._kept
    assert not steps[1].body.steps[0]._kept
    without = cl.Sequential([cl.ReLU(), cl.Flatten()], input_shape=(2, 2, 1))
    without.forward(np.ones((1, 2, 2, 1)))
    assert without.backward(np.ones((1, 4)), input_grad=False) is None


def test_without_a_gradient_of_x_backward_ends_after_parameters_that_are_frozen():
    layers = [cl.Conv(3, 3), cl.Residual([cl.BatchNorm()]), cl.ReLU(), cl.Conv(2, 3), cl.Flatten(), cl.Affine(2)]
    net = cl.Sequential(layers, input_shape=(5, 5, 2), rng=0)
    x, dy = np.random.default_rng(0).normal(size=(4, 5, 5, 2)), np.ones((4, 2))

    def steps_called():
        called = []
        for i, step in enumerate(net.plan.chain.steps):
            step.backward = lambda *args, step=step, i=i, **options: (
                called.append(i) or type(step).backward(step, *args, **options)
            )
        net.forward(x)
        net.backward(dy, input_grad=False)
        return called

    all_steps = steps_called()
    grads = {name: grad.copy() for name, grad in net.grads.items()}
    assert all_steps[-1] == 0
    net.freeze("0.W", "1.body.0.gamma", "1.body.0.beta")
    assert steps_called() == all_steps  # the first bias trains
    net.freeze("0.b")
    assert steps_called() == all_steps[: all_steps.index(2) + 1]
    for name, grad in net.grads.items():
        np.testing.assert_array_equal(grad, 0 if name in net.frozen else grads[name])
    net.unfreeze("1.body.0.beta")
    assert steps_called() == all_steps[:-1]
    np.testing.assert_array_equal(net.grads["1.body.0.beta"], grads["1.body.0.beta"])
