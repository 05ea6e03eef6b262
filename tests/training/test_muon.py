"""Muon, the optimiser that it leaves the rest to, and the schedules of groups."""

import copy

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers import kernels
from cnnlayers.reference.optimizers import adamw, muon, newton_schulz, sgd
from tests.marks import both_dtypes, every_level

SHAPES = [(9, 4), (4, 9), (5, 5), (1, 7), (7, 1), (1, 1), (160, 48), (40, 300)]


def spread(shape, seed=0):
    """A matrix whose singular values fall from 1 to some 1e-3."""
    return with_values(np.geomspace(1, 1e-3, min(shape)), shape, seed)


def with_values(values, shape, seed=0):
    """A matrix with these singular values."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.normal(size=(size, len(values))))[0] for size in shape)
    return u * values @ v.T


# The matrix


@every_level
@both_dtypes
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_orthogonalize_and_its_twin(shape, steps, dtype):
    d = spread(shape).astype(dtype)
    got = kernels.orthogonalize(d, steps)
    assert got.shape == shape
    assert got.dtype == dtype
    np.testing.assert_allclose(got, newton_schulz(d, steps), rtol=0, atol=1e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("steps", [5, 6, 8, 12])
@pytest.mark.parametrize("values", [[1], [1, 0.5, 0.2], np.geomspace(1, 1e-6, 30)], ids=["1", "3", "falling"])
@pytest.mark.parametrize("turn", [False, True], ids=["tall", "wide"])
def test_low_rank_and_many_steps(values, steps, turn):
    """As exact as the iteration on the matrix itself: gradients of few images have a low rank."""
    d = with_values(np.concatenate([values, np.zeros(30 - len(values))]), (80, 30))
    x = d.astype(np.float32) / np.float32(np.linalg.norm(d))
    a, b, c = 3.4445, -4.775, 2.0315
    for _ in range(steps):
        gram = x.T @ x
        x = a * x + x @ (b * gram + c * gram @ gram)
    truth = newton_schulz(d, steps)
    got = kernels.orthogonalize(np.ascontiguousarray(d.T if turn else d, np.float32), steps)
    error = np.abs((got.T if turn else got) - truth).max()
    assert error < 10 * np.abs(x - truth).max() + 3e-4


def test_the_result_is_nearly_orthogonal():
    d = np.random.default_rng(0).normal(size=(60, 20))
    u, _, vt = np.linalg.svd(d, full_matrices=False)
    got = kernels.orthogonalize(d, 5)
    values = np.linalg.svd(got, compute_uv=False)
    assert 0.65 < values.min() <= values.max() < 1.25
    middle = u.T @ got @ vt.T
    np.testing.assert_allclose(middle, np.diag(np.diag(middle)), atol=1e-9)  # the singular vectors stay


def test_a_matrix_of_zeros_stays_one():
    np.testing.assert_array_equal(kernels.orthogonalize(np.zeros((6, 3), np.float32), 5), 0)


@pytest.mark.parametrize("shape", SHAPES)
def test_threads_do_not_change_a_bit(shape):
    d = spread(shape).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        before = cl.get_num_threads()
        cl.set_num_threads(threads)
        results.append(kernels.orthogonalize(d, 5).tobytes())
        cl.set_num_threads(before)
    assert len(set(results)) == 1


# The step


def make_net(dtype="float64"):
    """A convolution, a norm and an affine layer, with gradients."""
    layers = [cl.Conv(4, 3, padding=1), cl.BatchNorm(), cl.ReLU(), cl.GlobalAvgPool(), cl.Affine(3)]
    net = cl.Sequential(layers, input_shape=(5, 5, 2), rng=0, dtype=dtype)
    net.flat_grads[...] = np.random.default_rng(1).normal(size=net.flat_grads.size)
    return net


OPTIONS = [
    {"lr": 0.1},
    {"lr": 0.1, "momentum": 0.6, "steps": 3},
    {"lr": 0.1, "momentum": 0.6, "nesterov": False, "weight_decay": 0.3},
    {"lr": 0.1, "momentum": 0.0, "nesterov": False, "normalize": False},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_against_the_formula(options):
    net, rng = make_net(), np.random.default_rng(2)
    optimizer = cl.Muon(**options, rest=cl.SGD(lr=0.2, momentum=0.5, weight_decay=0.1, decay_all=True))
    expected = {name: array.copy() for name, array in net.params.items()}
    remembered = {name: np.zeros_like(array) for name, array in net.params.items()}
    for _ in range(4):
        net.flat_grads[...] = rng.normal(size=net.flat_grads.size)
        optimizer.step(net)
        for name, w in expected.items():
            g, v = net.grads[name], remembered[name]
            if name in ("0.W", "4.W"):
                expected[name], remembered[name] = muon(w, g, v, **options)
            else:
                expected[name], remembered[name] = sgd(w, g, v, 0.2, 0.5, weight_decay=0.1)
            np.testing.assert_allclose(net.params[name], expected[name], rtol=1e-9, err_msg=name)


def test_filter_banks_are_kept_at_their_norm():
    net = make_net()
    net.params["0.W"] = 100 * net.params["0.W"]
    before = net.params["4.W"].copy()
    cl.Muon(lr=0.0).step(net)
    assert np.linalg.norm(net.params["0.W"]) == pytest.approx(2)  # the root of 4 filters
    np.testing.assert_array_equal(net.params["4.W"], before)  # a matrix is no filter bank
    net.params["0.W"] = 0 * net.params["0.W"]
    cl.Muon(lr=0.0).step(net)
    np.testing.assert_array_equal(net.params["0.W"], 0)


def test_a_group_gives_a_weight_to_the_rest():
    net = make_net()
    w, b = net.params["4.W"].copy(), net.params["0.b"].copy()
    optimizer = cl.Muon(
        lr=0.1,
        rest=cl.AdamW(lr=0.01, groups={"4.*": {"lr_factor": 10}}),
        groups={"4.W": {"optimizer": "rest"}, "0.W": {"lr_factor": 0}},
    )
    optimizer.step(net)
    zeros = np.zeros_like(w)
    np.testing.assert_allclose(net.params["4.W"], adamw(w, net.grads["4.W"], zeros, zeros, 1, lr=0.1)[0], rtol=1e-12)
    np.testing.assert_allclose(
        net.params["0.b"], adamw(b, net.grads["0.b"], 0 * b, 0 * b, 1, lr=0.01, weight_decay=0)[0], rtol=1e-12
    )
    assert sorted(optimizer.state) == ["rest.mean", "rest.square_mean", "rest.step", "velocity"]
    assert optimizer.state["rest.step"] == 1


def test_frozen_layers_are_left_alone():
    net = make_net()
    net[0].trainable = False
    before = {name: array.copy() for name, array in net.params.items()}
    cl.Muon(lr=0.1).step(net)
    for name, array in net.params.items():
        assert np.array_equal(array, before[name]) == name.startswith("0."), name


def test_parameters_that_do_not_decay_are_the_rest():
    net = cl.Sequential([cl.Scale((2, 3))], input_shape=(2, 3), rng=0)
    net.flat_grads[...] = 1
    cl.Muon(lr=0.1, rest=cl.SGD(lr=0.5)).step(net)
    np.testing.assert_array_equal(net.params["0.gamma"], 0.5)


def test_a_step_that_is_refused_changes_no_weight():
    net = make_net()
    rest = cl.SGD(lr=0.5, groups={"4.b": {"schedule": lambda step, total: -1.0}})
    before = net.flat_params.copy()
    with pytest.raises(ValueError, match="SGD: group_factor must be at least 0; got -1"):
        cl.Muon(lr=0.1, rest=rest).step(net, 1.0, lambda own: own(0, 10))
    np.testing.assert_array_equal(net.flat_params, before)


# State


@both_dtypes
def test_state_is_taken_over(dtype):
    one = make_net(dtype)
    other = one.copy()
    first = cl.Muon(lr=0.1, rest=cl.AdamW(lr=0.01))
    first.step(one)
    other.flat_params[...] = one.flat_params
    second = first.fresh()
    assert repr(second) == repr(first)
    second.load_state(other, copy.deepcopy(first.state))
    for net, optimizer in ((one, first), (other, second)):
        net.flat_grads[...] = 0.5
        optimizer.step(net)
    assert one.flat_params.tobytes() == other.flat_params.tobytes()
    assert second.state["rest.step"] == 2
    with pytest.raises(
        ValueError, match=r"Muon: the state must hold \['rest.mean', .*'velocity'\]; got \['velocity'\]"
    ):
        cl.Muon().load_state(make_net(dtype), {"velocity": first.state["velocity"]})


def solver_for(net, **options):
    data = cl.datasets.digits()
    x, y = data.train[0][:96], data.train[1][:96]
    options = {"loss": cl.SoftmaxLoss(), "batch_size": 32, "epochs": 4, "progress": False} | options
    return cl.Solver(net, (x, y), **options)


def digits_net():
    return cl.models.digits_cnn(rng=0)


OWN = {"7.b": {"schedule": cl.Polynomial(epochs=2)}, "9.W": {"lr_factor": 2.0}}


def make_muon():
    return cl.Muon(
        lr=0.05, rest=cl.SGD(lr=0.1, momentum=0.9, groups=OWN), groups={"9.W": {"optimizer": "rest"}}, steps=3
    )


def test_a_resumed_run_has_the_bits_of_one_never_stopped(tmp_path):
    whole = solver_for(digits_net(), optimizer=make_muon(), schedule=cl.Cosine())
    whole.train()
    stop = cl.LambdaCallback(on_step=lambda solver: solver.step == 5 and solver.stop("enough"))
    part = solver_for(digits_net(), optimizer=make_muon(), schedule=cl.Cosine(), callbacks=[stop], checkpoint=tmp_path)
    part.train()
    x, y = part.train_data.x, part.train_data.y
    resumed = cl.Solver.resume(tmp_path, (x, y), callbacks=[cl.LambdaCallback()], progress=False)
    assert repr(resumed.optimizer) == repr(make_muon())
    resumed.train()
    assert resumed.model.flat_params.tobytes() == whole.model.flat_params.tobytes()


def test_it_learns():
    data = cl.datasets.digits()
    net = digits_net()
    solver = cl.Solver(
        net, data.train, data.val, loss=cl.SoftmaxLoss(), optimizer=make_muon(), epochs=3, progress=False
    )
    assert solver.train()["val_accuracy"][-1] > 0.95
    assert solver.overfit_batch(steps=30).ok


@pytest.mark.filterwarnings("ignore:Solver.lr_find. no suggestion")
def test_learning_rates_are_tried_with_schedules_at_their_start():
    solver = solver_for(digits_net(), optimizer=make_muon())
    found = solver.lr_find(lowest=1e-3, highest=0.1, steps=12)
    assert len(found.rates) == 12
    assert found.losses[-1] < found.losses[0]


# Schedules of groups


def test_a_group_with_a_schedule():
    net = digits_net()
    seen = []
    groups = {"*.b": {"schedule": cl.Polynomial(epochs=2)}}

    class Probe(cl.SGD):
        def update(self, w, g, lr, decay, *own):
            seen.append((w.size, lr))
            super().update(w, g, lr, decay, *own)

    solver_for(net, optimizer=Probe(lr=1e-3, groups=groups), schedule=cl.Constant()).train()
    sizes = [net.params[name].size for name in net.params]
    assert seen.pop(0) == (sum(sizes), 1e-3)  # all alike, as the schedule begins with 1
    assert [size for size, _ in seen[: len(sizes)]] == sizes
    biases = [lr for index, (_, lr) in enumerate(seen) if index % len(sizes) == 1]
    np.testing.assert_allclose(biases, [1e-3 * max(1 - t / 6, 0) for t in range(1, 12)], rtol=1e-12)
    assert {lr for index, (_, lr) in enumerate(seen) if index % len(sizes) == 0} == {1e-3}


def test_a_schedule_by_hand():
    net = make_net()
    optimizer = cl.SGD(lr=1.0, groups={"4.b": {"schedule": lambda step, total: 0.25, "lr_factor": 2}})
    before = net.flat_params.copy()
    with pytest.raises(ValueError, match="SGD: a group has a schedule, so a step needs its value, as group_factor"):
        optimizer.step(net)
    np.testing.assert_array_equal(net.flat_params, before)
    optimizer.step(net, 0.5, lambda own: own(0, 10))
    np.testing.assert_allclose(before[-3:] - net.flat_params[-3:], 0.5 * net.flat_grads[-3:])
    np.testing.assert_allclose(before[:-3] - net.flat_params[:-3], 0.5 * net.flat_grads[:-3])


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1}, "Muon: momentum must be .*; got 1"),
        ({"momentum": 0}, "Muon: nesterov needs a momentum above 0; got momentum=0"),
        ({"steps": 0}, "Muon: steps must be 1 or more; got 0"),
        ({"rest": 0.1}, r"Muon: rest must be an optimiser of another kind, as SGD\(lr=0.1\); got 0.1"),
        ({"rest": cl.Muon()}, r"Muon: rest must be an optimiser of another kind, as SGD\(lr=0.1\); got Muon\(\)"),
        ({"groups": {"*": {"optimizer": "sgd"}}}, "Muon: optimizer of '\\*' must be \"muon\" or \"rest\"; got 'sgd'"),
        ({"groups": {"*": {"rest": True}}}, "must be a dict of .*\"optimizer\"; got {'rest': True}"),
        ({"groups": {"*": {"schedule": 3}}}, r"schedule of '\*' must be a function .* got 3"),
        ({"groups": {"*": {"schedule": cl.ReduceOnPlateau()}}}, "must depend on the step alone; .* has a memory"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        cl.Muon(**options)


@pytest.mark.parametrize("options", [{"groups": {"9.*": {}}}, {"rest": cl.SGD(lr=0.1, groups={"9.*": {}})}])
def test_groups_must_name_parameters(options):
    with pytest.raises(ValueError, match=r"groups must name parameters; '9\.\*' fits none of"):
        cl.Muon(**options).step(make_net())


@pytest.mark.parametrize(
    ("pattern", "rule"),
    [
        ("0.b", {"lr_factor": 0.0}),
        ("0.*", {"lr_factor": 2.0}),
        ("1.gamma", {"weight_decay": 0.1}),
        ("4.*", {"schedule": cl.Cosine()}),
        ("4.b", {"optimizer": "muon"}),
        ("4.W", {"optimizer": "rest", "lr_factor": 3.0}),
    ],
)
def test_groups_of_muon_are_not_for_what_the_rest_takes(pattern, rule):
    net = make_net()
    with pytest.raises(ValueError, match=r"Muon: groups say {.*} of '\d\.\w+', which `rest` takes"):
        cl.Muon(groups={pattern: rule}).step(net)


def test_only_muon_has_a_rest():
    with pytest.raises(ValueError, match="must be a dict of"):
        cl.SGD(lr=0.1, groups={"*": {"optimizer": "rest"}})
