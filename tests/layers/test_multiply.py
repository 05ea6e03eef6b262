"""Multiply: branches multiplied, number by number."""

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch, gradient_for


def gate(channels):
    """Squeeze and excitation: a number between 0 and 1 for each channel, by the means of all channels."""
    ends = [cl.Affine(channels), cl.Sigmoid(), cl.Reshape((1, 1, channels))]
    return [cl.GlobalAvgPool(), cl.Affine(2), cl.ReLU(), *ends]


def test_by_hand():
    layer = cl.Multiply([cl.Affine(2, bias=False), [], cl.Affine(1, bias=False)])
    layer.build((2,))
    layer.params["0.W"], layer.params["2.W"] = [[1, 0], [0, 2]], [[1], [1]]
    y = layer.forward([[3, 5]])  # (3, 10) (3, 5) 8
    np.testing.assert_array_equal(y, [[72, 400]])
    dx = layer.backward([[1, 10]])  # δ_1 = (24, 400), δ_2 = (24, 800), δ_3 = 9 + 10 50 = 509
    np.testing.assert_array_equal(dx, [[24 + 24 + 509, 2 * 400 + 800 + 509]])
    np.testing.assert_array_equal(layer.grads["0.W"], [[72, 1200], [120, 2000]])
    np.testing.assert_array_equal(layer.grads["2.W"], [[1527], [2545]])


def test_it_is_the_product_of_its_branches():
    layer = cl.Multiply([cl.Conv(3, 1), [cl.Conv(3, 3, padding=1), cl.Sigmoid()]])
    layer.build((4, 5, 2), rng=0, dtype=np.float64)
    x, parts = batch(3, 4, 5, 2), [branch.copy() for branch in layer.branches]
    f, g = (part.forward(x) for part in parts)
    y = layer.forward(x)
    np.testing.assert_array_equal(y, f * g)
    dy = gradient_for(y)
    np.testing.assert_array_equal(layer.backward(dy), parts[0].backward(dy * g) + parts[1].backward(dy * f))
    np.testing.assert_array_equal(layer.flat_grads, np.concatenate([part.flat_grads for part in parts]))


def test_a_gate_of_one_number_for_each_channel():
    layer = cl.Multiply([[], gate(4)])
    layer.build((5, 6, 4), rng=0, dtype=np.float64)
    x = batch(3, 5, 6, 4)
    numbers = layer.branches[1].copy().predict(x)
    assert numbers.shape == (3, 1, 1, 4)
    np.testing.assert_array_equal(layer.predict(x), x * numbers)
    np.testing.assert_array_equal(layer.predict(x[:, :3, :3]).shape, (3, 3, 3, 4))  # other sizes of images are welcome


@pytest.mark.parametrize("axes", [(1, 5, 2), (4, 1, 2), (4, 5, 1), (1, 1, 2), (1, 1, 1)])
def test_any_axis_of_size_one_is_stretched(axes):
    pool = cl.AvgPool((4 if axes[0] == 1 else 1, 5 if axes[1] == 1 else 1))
    layer = cl.Multiply([[], [pool, cl.Conv(axes[2], 1)]])
    layer.build((4, 5, 2), rng=0, dtype=np.float64)
    assert layer.branches[1].output_shape((4, 5, 2)) == axes
    assert layer.output_shape((4, 5, 2)) == (4, 5, 2)
    report = cl.gradcheck(layer, batch(3, 4, 5, 2))
    assert report.ok, report


def test_all_may_be_stretched():
    layer = cl.Multiply([cl.AvgPool((4, 1)), cl.AvgPool((1, 5))])
    layer.build((4, 5, 2), dtype=np.float64)
    x = batch(3, 4, 5, 2)
    np.testing.assert_allclose(layer.forward(x), x.mean(1, keepdims=True) * x.mean(2, keepdims=True), rtol=1e-12)
    assert cl.gradcheck(layer, x).ok


@pytest.mark.parametrize("zeros", [1, 2, 3])
def test_factors_of_zero(zeros):
    layer = cl.Multiply([cl.Affine(1, bias=False) for _ in range(3)])
    layer.build((1,), dtype=np.float64)
    weights = [0.0] * zeros + [2.0] * (3 - zeros)
    for i, w in enumerate(weights):
        layer.params[f"{i}.W"] = [[w]]
    np.testing.assert_array_equal(layer.forward([[3]]), [[0]])
    layer.backward([[1]])
    others = [np.prod(weights[:i] + weights[i + 1 :]) for i in range(3)]
    np.testing.assert_array_equal(layer.flat_grads, [27 * other for other in others])


def test_sums_over_large_maps_lose_no_digits():
    layer = cl.Multiply([[], cl.AvgPool(512)])
    layer.build((512, 512, 1))
    x = np.ones((1, 512, 512, 1), np.float32)
    layer.forward(x)
    dx = layer.backward(np.full_like(x, 0.1))  # 0.1 times the gate, 1, and the mean of 0.1
    np.testing.assert_allclose(dx, 0.2, rtol=1e-6)


def test_names():
    layer = cl.Multiply([[], cl.Conv(2, 1), gate(2)])
    layer.build((4, 4, 2))
    assert list(layer.params) == ["1.W", "1.b", "2.1.W", "2.1.b", "2.3.W", "2.3.b"]
    assert [name for name, _ in layer.walk()][:4] == ["", "0", "1", "2"]
    assert repr(cl.Multiply([[], cl.Conv(2, 1)])) == "Multiply([[], Conv(2, 1)])"


def test_a_net_of_gates_is_saved_folded_and_summed_up(tmp_path):
    layers = [cl.Conv(4, 3, padding=1), cl.BatchNorm(), cl.ReLU(), cl.Multiply([[cl.Dropout(0.5)], gate(4)])]
    layers += [cl.Multiply([[cl.Conv(3, 1), cl.BatchNorm()], [cl.Conv(1, 1), cl.Sigmoid()]]), cl.GlobalAvgPool()]
    net, x = cl.Sequential(layers, input_shape=(5, 4, 2), rng=0), batch(3, 5, 4, 2, dtype=np.float32)
    for _ in range(3):
        net.backward(gradient_for(net.forward(x)))
    net.save(tmp_path / "net.safetensors")
    y = net.predict(x)
    np.testing.assert_array_equal(cl.load(tmp_path / "net.safetensors").predict(x), y)
    made = net.for_inference()
    np.testing.assert_allclose(made.predict(x), y, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(layer, cl.BatchNorm | cl.Dropout) for _, layer in made.walk())
    assert net.multiply_adds((5, 4, 2)) == 20 * 9 * 2 * 4 + (4 * 2 + 2 * 4) + 20 * (4 * 3 + 4)
    assert "  3.1: Sequential" in net.summary()


@pytest.mark.parametrize("count", [1, 2])
def test_it_shares_no_memory(count):
    x = batch(2, 3, dtype=np.float32)
    layer = cl.Multiply([[] for _ in range(count)])
    y = layer.forward(x)
    dx = layer.backward(y)
    np.testing.assert_array_equal(dx, x if count == 1 else 2 * x * y)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, y)


def test_no_warning_where_a_product_is_too_large():
    layer = cl.Multiply([[], []])
    with np.errstate(all="raise"):
        y = layer.forward(np.full((1, 2), 1e30, np.float32))
        layer.backward(np.full((1, 2), 1e30, np.float32))
    np.testing.assert_array_equal(y, np.inf)


@pytest.mark.parametrize(
    ("branches", "shapes"),
    [
        ([[], cl.MaxPool(2)], r"\(4, 4, 2\), \(2, 2, 2\)"),
        ([[], cl.Conv(3, 1)], r"\(4, 4, 2\), \(4, 4, 3\)"),
        ([[], cl.GlobalAvgPool()], r"\(4, 4, 2\), \(2,\)"),
    ],
)
def test_shapes_that_do_not_go_together(branches, shapes):
    message = "Multiply: the branches must give as many axes, along each of the same size or of size 1; they map"
    with pytest.raises(ValueError, match=rf"{message} \(4, 4, 2\) to {shapes}"):
        cl.Multiply([[layer.copy()] if isinstance(layer, cl.Layer) else [] for layer in branches]).build((4, 4, 2))
