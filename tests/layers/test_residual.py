"""Residual: the body learns what to add to x."""

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch


def block(dtype=np.float64):
    layer = cl.Residual([cl.Conv(4, (3, 2), stride=2, padding="same"), cl.BatchNorm()], shortcut=cl.Conv(4, 1, 2))
    layer.build((5, 6, 2), rng=0, dtype=dtype)
    return layer


def test_by_hand_with_the_identity():
    layer = cl.Residual(cl.Affine(2))
    layer.build((2,))
    layer.params["body.W"], layer.params["body.b"] = [[1, 2], [3, 4]], [10, 20]
    np.testing.assert_array_equal(layer.forward([[1, 1]]), [[15, 27]])  # (1 + 3 + 10, 2 + 4 + 20) + (1, 1)
    np.testing.assert_array_equal(layer.backward([[1, 10]]), [[1 + 20 + 1, 3 + 40 + 10]])
    np.testing.assert_array_equal(layer.grads["body.W"], [[1, 10], [1, 10]])


def test_by_hand_with_a_projection():
    layer = cl.Residual(cl.Affine(1, bias=False), shortcut=cl.Affine(1, bias=False))
    layer.build((2,))
    layer.params["body.W"], layer.params["shortcut.W"] = [[1], [2]], [[10], [100]]
    np.testing.assert_array_equal(layer.forward([[3, 4]]), [[3 + 8 + 30 + 400]])
    np.testing.assert_array_equal(layer.backward([[2]]), [[22, 204]])
    np.testing.assert_array_equal(layer.grads["body.W"], [[6], [8]])
    np.testing.assert_array_equal(layer.grads["shortcut.W"], [[6], [8]])


def test_a_body_of_zeros_is_the_identity():
    layer = cl.Residual([cl.Conv(2, 3, padding=1, init="zeros")])
    x = batch(2, 4, 3, 2, dtype=np.float32)
    np.testing.assert_array_equal(layer.forward(x), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize("train", [True, False])
def test_gradients_agree_with_numeric_ones(train):
    assert cl.gradcheck(block(), batch(3, 5, 6, 2), train=train).ok
    identity = cl.Residual([cl.Affine(3), cl.Tanh(), cl.Affine(4)])
    assert cl.gradcheck(identity, batch(3, 4), train=train).ok


def test_gradients_without_gradcheck():
    layer, x, r = block(), batch(2, 5, 6, 2), batch(2, 3, 3, 4, seed=1)
    layer.forward(x)
    dx = layer.backward(r)
    for i in [(0, 0, 0, 0), (1, 4, 5, 1), (0, 2, 3, 1)]:
        high, low = x.copy(), x.copy()
        high[i] += 1e-5
        low[i] -= 1e-5
        slope = ((layer.forward(high) - layer.forward(low)) * r).sum() / 2e-5
        assert dx[i] == pytest.approx(slope, rel=1e-6)


def test_dotted_names_and_views():
    layer = block()
    assert list(layer.params) == ["body.0.W", "body.0.b", "body.1.gamma", "body.1.beta", "shortcut.W", "shortcut.b"]
    assert layer.params["shortcut.W"] is layer.shortcut.params["W"]
    np.testing.assert_array_equal(layer.flat_params, np.concatenate([a.ravel() for a in layer.params.values()]))
    assert np.shares_memory(layer.flat_params, layer.body[0].params["W"])


def test_a_list_becomes_a_sequential():
    layer = cl.Residual([cl.Affine(3)], shortcut=[cl.Affine(3), cl.BatchNorm()])
    assert isinstance(layer.body, cl.Sequential)
    assert isinstance(layer.shortcut, cl.Sequential)
    assert repr(layer) == "Residual([Affine(3)], shortcut=Sequential([Affine(3), BatchNorm()]))"
    assert repr(cl.Residual(cl.Affine(3))) == "Residual(Affine(3))"
    assert list(layer.children()) == ["body", "shortcut"]
    assert list(cl.Residual(cl.Affine(3)).children()) == ["body"]


def test_config_makes_an_equal_layer():
    for layer in (block(), cl.Residual([cl.Affine(3)])):
        again = cl.Residual(**layer.config())
        assert repr(again) == repr(layer)
        assert not again.built


def test_without_the_input_gradient_the_rest_is_the_same():
    one, two, x = block(), block(), batch(2, 5, 6, 2)
    dy = batch(2, 3, 3, 4, seed=1)
    one.forward(x)
    two.forward(x)
    assert one.backward(dy).shape == x.shape
    assert two.backward(dy, input_grad=False) is None
    np.testing.assert_array_equal(one.flat_grads, two.flat_grads)


def test_predict_is_forward_at_inference():
    layer, x = block(), batch(5, 5, 6, 2)
    layer.forward(x)
    np.testing.assert_allclose(layer.predict(x, batch_size=2), layer.forward(x, train=False), rtol=1e-13)


def test_inputs_and_outputs_share_no_memory():
    layer, x = cl.Residual([]), batch(2, 3, dtype=np.float32)
    before = x.copy()
    y = layer.forward(x)
    np.testing.assert_array_equal(y, 2 * x)
    y[...] = 0
    dy = np.ones((2, 3), np.float32)
    layer.backward(dy)[...] = 5
    np.testing.assert_array_equal(dy, 1)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("make", "shape", "message"),
    [
        (
            lambda: cl.Residual([cl.Conv(32, 3, stride=2, padding=1)]),
            (8, 8, 16),
            r"Residual: the body maps \(8, 8, 16\) to \(4, 4, 32\), so it needs a shortcut of the same shape, "
            r"e\.g\. shortcut=Conv\(32, 1, stride=2\)",
        ),
        (
            lambda: cl.Residual([cl.Conv(3, 3, padding=1)]),
            (8, 8, 2),
            r"to \(8, 8, 3\), so it needs a shortcut of the same shape, e\.g\. shortcut=Conv\(3, 1\)(\n|$)",
        ),
        (
            lambda: cl.Residual([cl.Affine(3)]),
            (2,),
            r"Residual: the body maps \(2,\) to \(3,\), so it needs a shortcut of the same shape",
        ),
        (
            lambda: cl.Residual([cl.Conv(4, 3, padding=1)], shortcut=cl.Conv(5, 1)),
            (8, 6, 2),
            r"Residual: the body maps \(8, 6, 2\) to \(8, 6, 4\), but the shortcut maps it to \(8, 6, 5\)",
        ),
    ],
)
def test_shapes_that_differ(make, shape, message):
    with pytest.raises(ValueError, match=message):
        make().build(shape)
    with pytest.raises(ValueError, match=message) as error:
        cl.Sequential([cl.ReLU(), make()], input_shape=shape)
    assert error.value.__notes__ == ["in layer 1 of Sequential, after ReLU()"]


def test_errors_say_in_which_branch():
    for options, where in (({"body": cl.Affine(3)}, "body"), ({"body": [], "shortcut": cl.Affine(3)}, "shortcut")):
        with pytest.raises(ValueError, match=r"Affine\(3\) needs rows") as error:
            cl.Residual(**options).build((4, 4, 1))
        assert error.value.__notes__ == [f"in the {where} of Residual"]


def test_the_hint_is_true():
    body = [cl.Conv(6, 3, stride=3, padding=1)]
    with pytest.raises(ValueError, match=r"e\.g\. shortcut=Conv\(6, 1, stride=3\)"):
        cl.Residual(body).build((9, 7, 2))
    fixed = cl.Residual([cl.Conv(6, 3, stride=3, padding=1)], shortcut=cl.Conv(6, 1, stride=3))
    assert fixed.build((9, 7, 2)) == (3, 3, 6)


@pytest.mark.parametrize("bad", [3, "ReLU", [3]])
def test_what_is_no_layer(bad):
    body, shortcut = cl.Affine(2), cl.Affine(2)
    with pytest.raises(TypeError, match="needs"):
        cl.Residual([body], shortcut=bad)
    with pytest.raises(TypeError, match="needs"):
        cl.Residual(bad, shortcut=[shortcut])
    cl.Residual([body], shortcut=[shortcut])  # both are free


def test_a_layer_used_twice():
    layer = cl.Affine(2)
    with pytest.raises(ValueError, match=r"Affine\(2\) belongs to a net already: use its copy\(\) here"):
        cl.Residual(layer, shortcut=layer)
    with pytest.raises(ValueError, match=r"Affine\(2\) belongs to a net already: use its copy\(\) here"):
        cl.Residual([layer], shortcut=[layer])
    cl.Residual([layer], shortcut=[layer.copy()]).build((2,))
