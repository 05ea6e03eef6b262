"""Concat: branches side by side."""

import numpy as np
import pytest

import cnnlayers as cl
from tests.layers.common import batch, gradient_for


def block(dtype=np.float64):
    layer = cl.Concat([[], cl.Conv(3, 1), [cl.Conv(2, 3, padding=1), cl.BatchNorm(), cl.ReLU()]])
    layer.build((4, 5, 2), rng=0, dtype=dtype)
    return layer


def test_by_hand():
    layer = cl.Concat([cl.Affine(1, bias=False), [], cl.Affine(2, bias=False)])
    layer.build((2,))
    layer.params["0.W"], layer.params["2.W"] = [[1], [2]], [[3, 4], [5, 6]]
    np.testing.assert_array_equal(layer.forward([[1, 10]]), [[21, 1, 10, 53, 64]])
    np.testing.assert_array_equal(layer.backward([[1, 2, 3, 4, 5]]), [[1 + 2 + 12 + 20, 2 + 3 + 20 + 30]])
    np.testing.assert_array_equal(layer.grads["2.W"], [[4, 5], [40, 50]])


def test_it_is_its_branches_side_by_side():
    layer, x = block(), batch(3, 4, 5, 2)
    parts = [branch.copy() for branch in layer.branches]
    y = layer.forward(x)
    np.testing.assert_array_equal(y, np.concatenate([part.forward(x) for part in parts], axis=-1))
    dy = gradient_for(y)
    dx = sum(part.backward(d) for part, d in zip(parts, np.split(dy, [2, 5], axis=-1), strict=True))
    np.testing.assert_array_equal(layer.backward(dy), dx)  # added from the first branch to the last
    np.testing.assert_array_equal(layer.flat_grads, np.concatenate([part.flat_grads for part in parts]))


def test_names():
    layer = block()
    assert list(layer.params) == ["1.W", "1.b", "2.0.W", "2.0.b", "2.1.gamma", "2.1.beta"]
    assert [name for name, _ in layer.walk()] == ["", "0", "1", "2", "2.0", "2.1", "2.2"]
    assert repr(layer) == "Concat([[], Conv(3, 1), [Conv(2, 3, padding=1), BatchNorm(), ReLU()]])"


def test_a_net_of_blocks_is_saved_folded_and_summed_up(tmp_path):
    layers = [cl.Concat([[cl.Conv(4, 3, padding=1), cl.BatchNorm(), cl.ReLU()], [cl.Dropout(0.5)]])]
    layers += [cl.Concat([[], [cl.Conv(2, 1)]]), cl.GlobalAvgPool(), cl.Affine(3)]
    net, x = cl.Sequential(layers, input_shape=(5, 4, 2), rng=0), batch(3, 5, 4, 2, dtype=np.float32)
    for _ in range(3):
        net.backward(gradient_for(net.forward(x)))
    net.save(tmp_path / "net.safetensors")
    y = net.predict(x)
    np.testing.assert_array_equal(cl.load(tmp_path / "net.safetensors").predict(x), y)
    made = net.for_inference()
    np.testing.assert_allclose(made.predict(x), y, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(layer, cl.BatchNorm | cl.Dropout) for _, layer in made.walk())
    assert net.multiply_adds((5, 4, 2)) == 20 * (9 * 2 * 4 + 6 * 2) + 8 * 3
    assert "  0.0: Sequential" in net.summary()


def test_one_branch_shares_no_memory():
    x = batch(2, 3, dtype=np.float32)
    layer = cl.Concat([[]])
    y = layer.forward(x)
    dx = layer.backward(y)
    np.testing.assert_array_equal(dx, x)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, y)


def test_shapes_that_differ():
    message = (
        r"Concat: the branches may differ in the last axis alone; they map \(4, 4, 2\) to \(4, 4, 3\), \(2, 2, 3\)"
    )
    with pytest.raises(ValueError, match=message):
        cl.Concat([cl.Conv(3, 1), cl.Conv(3, 2, stride=2)]).build((4, 4, 2))
