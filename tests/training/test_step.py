"""One step: by hand, over several batches, clipped, and undone."""

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.step import Met, Step, Taken


def one_weight():
    """Loss (w - 1)^2 of one weight that is 0: its gradient is 2 (w - 1) = -2."""
    net = cl.Sequential([cl.Affine(1, bias=False, init="zeros")], input_shape=(1,))
    return net, (np.ones((4, 1)), np.ones((4, 1)))


def noisy():
    rng = np.random.default_rng(0)
    layers = [cl.Affine(5), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.5), cl.Affine(2)]
    return cl.Sequential(layers, input_shape=(3,), rng=0), (rng.normal(size=(6, 3)), rng.integers(0, 2, 6))


def all_of(step):
    draws = [layer.rng.bit_generator.state for _, layer in step.model.walk() if layer.random]
    state = {name: np.array(value).tobytes() for name, value in step.optimizer.state.items()}
    return step.model.flat_params.tobytes(), step.model.flat_state.tobytes(), draws, state


def test_by_hand():
    net, batch = one_weight()
    taken = Step(net, cl.MSELoss(), cl.SGD(lr=0.1)).take([batch], factor=0.5)
    (met,) = taken.met
    assert (taken.loss, met.loss, met.weight, met.scores.tolist()) == (1.0, 1.0, 4.0, [[0.0]] * 4)
    np.testing.assert_array_equal(met.target[0], batch[1])
    np.testing.assert_allclose(net.params["0.W"], 0.1 * 0.5 * 2)


def test_the_gradient_of_several_batches_is_that_of_one():
    _, (x, y) = noisy()
    net = cl.Sequential([cl.Affine(5), cl.ReLU(), cl.Affine(2)], input_shape=(3,), rng=0)
    loss = cl.SoftmaxLoss(class_weights=[1, 3])
    whole, parts = (Step(net.copy(), loss, cl.SGD(lr=0.1)) for _ in range(2))
    one = whole.take([(x, y)])
    several = parts.take([(x[:4], y[:4]), (x[4:], y[4:])])
    assert [met.place for met in several.met] == [0, 1]
    assert several.loss == pytest.approx(one.loss)
    np.testing.assert_allclose(parts.model.flat_grads, whole.model.flat_grads, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [cl.SoftmaxLoss(0.1, [1, 3], reduction="sum"), cl.HingeLoss(reduction="sum")])
@pytest.mark.parametrize("weights", [None, [0.3, 2.5, 1, 0, 700, 1e-3]])
def test_the_gradient_of_several_sums_is_their_sum(loss, weights):
    _, (x, y) = noisy()
    net = cl.Sequential([cl.Affine(5), cl.ReLU(), cl.Affine(2)], input_shape=(3,), rng=0, dtype=np.float64)
    whole, parts = (Step(net.copy(), loss, cl.SGD(lr=0.1)) for _ in range(2))
    sets = (x, y) if weights is None else (x, y, np.array(weights))
    one = whole.take([sets])
    several = parts.take([tuple(a[rows] for a in sets) for rows in (slice(0, 3), slice(3, 5), slice(5, 6))])
    assert one.loss == loss.forward(net.predict(x), *sets[1:])
    assert several.loss == pytest.approx(one.loss) == sum(met.loss for met in several.met)
    np.testing.assert_allclose(parts.model.flat_grads, whole.model.flat_grads, rtol=1e-12, atol=1e-14)


def test_the_loss_of_a_step_is_a_weighted_mean():
    assert Taken([Met(0, 0.1, 7.0)]).loss == 0.1
    assert Taken([Met(0, 1.0, 2.0), Met(1, 4.0, 1.0)]).loss == 2.0


@pytest.mark.parametrize(("largest", "moved"), [(0.5, 0.05), (3.0, 0.2)])
def test_a_gradient_above_the_norm_is_scaled_down_to_it(largest, moved):
    net, batch = one_weight()
    Step(net, cl.MSELoss(), cl.SGD(lr=0.1), clip_norm=largest).take([batch])
    np.testing.assert_allclose(net.params["0.W"], moved, rtol=1e-6)


@pytest.mark.parametrize("optimizer", [lambda: cl.SGD(lr=0.1, momentum=0.9), cl.Adam])
def test_undo_puts_all_back(optimizer):
    net, batch = noisy()
    step = Step(net, cl.SoftmaxLoss(), optimizer())
    step.take([batch])
    before = all_of(step)
    first = step.take([batch]).loss
    after = all_of(step)
    assert after != before
    step.undo()
    assert all_of(step) == before
    assert step.take([batch]).loss == first
    assert all_of(step) == after


def test_a_step_that_fails_is_undone_and_its_number_is_named():
    net, (x, y) = noisy()
    step = Step(net, cl.SoftmaxLoss(), cl.Adam())
    step.take([(x, y)])
    before = all_of(step)
    bad = x.copy()
    bad[0] = np.nan
    with pytest.raises(cl.NonFiniteError, match="step 7: the loss is nan; the batch itself holds a NaN"):
        step.take([(x, y), (bad, y)], number=7)
    assert all_of(step) == before
    with pytest.raises(ValueError, match=r"labels must be integers in 0\.\.1; got 9"):
        step.take([(x, y), (x, y + 9)])
    assert all_of(step) == before


def test_a_net_is_built_from_its_first_batch():
    nets = [cl.Sequential([cl.Affine(1)]) for _ in range(2)]
    nets[0].build((1,), rng=3)
    for net in nets:
        Step(net, cl.MSELoss(), cl.SGD(lr=0.1), rng=3).take([one_weight()[1]])
    np.testing.assert_array_equal(nets[0].flat_params, nets[1].flat_params)
