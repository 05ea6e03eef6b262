import math
from types import SimpleNamespace

import numpy as np
import pytest

from cnnlayers.layers import Affine, BatchNorm, Sequential
from cnnlayers.reference.optimizers import adagrad, adam, adamw, rmsprop, sgd
from cnnlayers.training.losses import SoftmaxLoss
from cnnlayers.training.optimizer import Optimizer
from cnnlayers.training.optimizers import SGD, Adagrad, Adam, AdamW, RMSProp


def make_net(n=7, dtype=np.float64, runs=((0, 4, True), (4, 7, False)), seed=0):
    """A stand-in for a net: flat arrays, of which some stretches decay and some do not."""
    rng = np.random.default_rng(seed)
    return SimpleNamespace(
        built=True,
        flat_params=rng.normal(size=n).astype(dtype),
        flat_grads=np.zeros(n, dtype),
        param_runs=lambda decay_all=False: [(slice(a, b), decays or decay_all) for a, b, decays in runs],
    )


CASES = [
    (SGD, sgd, {"lr": 0.1}),
    (SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.3}),
    (SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.3}),
    (RMSProp, rmsprop, {}),
    (RMSProp, rmsprop, {"lr": 0.1, "alpha": 0.7, "eps": 0.2, "weight_decay": 0.3}),
    (Adagrad, adagrad, {}),
    (Adagrad, adagrad, {"lr": 0.1, "eps": 0.2, "weight_decay": 0.3}),
    (Adam, adam, {}),
    (Adam, adam, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.2, "weight_decay": 0.3}),
    (AdamW, adamw, {}),
    (AdamW, adamw, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.2, "weight_decay": 0.3}),
]
IDS = [f"{make.__name__}-{index}" for index, (make, _, _) in enumerate(CASES)]
DEFAULTS = [SGD(lr=0.1), SGD(lr=0.1, momentum=0.9), RMSProp(), Adagrad(), Adam(), AdamW()]


@pytest.mark.parametrize(("make", "formula", "options"), CASES, ids=IDS)
@pytest.mark.parametrize("decay_all", [False, True])
def test_against_the_formula(make, formula, options, decay_all):
    net = make_net()
    optimizer = make(**options, decay_all=decay_all)
    decay = np.where([decay_all or i < 4 for i in range(7)], optimizer.weight_decay, 0)
    w, remembered = net.flat_params.copy(), [np.zeros(7) for _ in optimizer.arrays or "v"]
    for t, g in enumerate(np.random.default_rng(1).normal(size=(6, 7)), start=1):
        net.flat_grads[...] = g
        optimizer.step(net)
        count = (t,) if optimizer.counters else ()
        w, *remembered = formula(w, g, *remembered, *count, **options | {"weight_decay": decay})
        np.testing.assert_allclose(net.flat_params, w, rtol=1e-12)
        np.testing.assert_array_equal(net.flat_grads, g)


@pytest.mark.parametrize(("make", "formula", "options"), CASES, ids=IDS)
def test_factor_multiplies_lr(make, formula, options):
    one, other = make_net(), make_net()
    plain = make(**{**options, "lr": 0.04})
    scaled = make(**{**options, "lr": 0.08})
    for seed in range(3):
        one.flat_grads[...] = other.flat_grads[...] = np.random.default_rng(seed).normal(size=7)
        plain.step(one)
        scaled.step(other, factor=np.float64(0.5))
    np.testing.assert_allclose(one.flat_params, other.flat_params, rtol=1e-14)
    assert scaled.lr == 0.08


def test_lr_may_be_set_between_steps():
    net = make_net()
    net.flat_grads[...] = 1
    before = net.flat_params.copy()
    optimizer = SGD(lr=0.5)
    optimizer.lr = np.float32(0.25)
    optimizer.step(net)
    np.testing.assert_allclose(net.flat_params, before - 0.25, rtol=1e-15)


@pytest.mark.parametrize("optimizer", DEFAULTS, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(optimizer, dtype):
    optimizer = type(optimizer)(**optimizer.config())
    net = make_net(dtype=dtype)
    net.flat_grads[...] = 1
    flat = net.flat_params
    before = flat.copy()
    optimizer.step(net, factor=np.float64(1))
    assert net.flat_params is flat
    assert (flat != before).all()
    assert {state.dtype for state in optimizer.state.values() if isinstance(state, np.ndarray)} <= {np.dtype(dtype)}


def test_float32_computes_in_float32():
    seen = []

    class Probe(SGD):
        def update(self, w, g, lr, decay, *own):
            super().update(w, g, lr, decay, *own)
            seen.extend([(g + decay * w).dtype, (lr * g).dtype, type(lr)])

    net = make_net(dtype=np.float32)
    Probe(lr=np.float64(0.1), weight_decay=np.float64(0.1)).step(net, factor=np.float64(0.5))
    assert seen == [np.float32, np.float32, float] * 2


@pytest.mark.parametrize("optimizer", DEFAULTS, ids=repr)
def test_frozen_parts_are_left_alone(optimizer):
    optimizer = type(optimizer)(**optimizer.config())
    net = make_net(runs=((0, 2, True), (5, 7, False)))
    net.flat_grads[...] = 1
    before = net.flat_params.copy()
    optimizer.step(net)
    np.testing.assert_array_equal(net.flat_params[2:5], before[2:5])
    assert (net.flat_params[[0, 1, 5, 6]] != before[[0, 1, 5, 6]]).all()
    for state in optimizer.state.values():
        if isinstance(state, np.ndarray):
            np.testing.assert_array_equal(state[2:5], 0)


@pytest.mark.parametrize("optimizer", [RMSProp(), Adagrad(), Adam(), AdamW()], ids=repr)
def test_zero_gradients_are_no_division_by_zero(optimizer):
    optimizer = type(optimizer)(**{**optimizer.config(), "weight_decay": 0.0})
    for dtype in (np.float32, np.float64):
        net = make_net(dtype=dtype)
        before = net.flat_params.copy()
        type(optimizer)(**optimizer.config()).step(net)
        np.testing.assert_array_equal(net.flat_params, before)


# State


def test_what_the_state_holds():
    names = [
        (SGD(lr=0.1), set()),
        (SGD(lr=0.1, momentum=0.9), {"velocity"}),
        (RMSProp(), {"square_mean"}),
        (Adagrad(), {"square_sum"}),
        (Adam(), {"mean", "square_mean", "step"}),
        (AdamW(), {"mean", "square_mean", "step"}),
    ]
    for optimizer, expected in names:
        assert optimizer.state == {}
        optimizer.step(make_net())
        assert set(optimizer.state) == expected
        assert optimizer.state.get("step", 1) == 1


@pytest.mark.parametrize(("make", "formula", "options"), CASES, ids=IDS)
def test_a_saved_state_goes_on_bit_for_bit(make, formula, options):
    def step(net, optimizer, seed):
        net.flat_grads[...] = np.random.default_rng(seed).normal(size=7)
        optimizer.step(net)

    net, optimizer = make_net(), make(**options)
    for seed in range(3):
        step(net, optimizer, seed)
    other = make_net(seed=9)
    other.flat_params[...] = net.flat_params
    saved = {name: np.copy(value) if np.ndim(value) else value for name, value in optimizer.state.items()}
    resumed = make(**optimizer.config())
    resumed.load_state(other, saved)
    for seed in range(3, 6):
        step(net, optimizer, seed)
        step(other, resumed, seed)
    np.testing.assert_array_equal(net.flat_params, other.flat_params)
    for value in saved.values():  # a copy was taken: the saved arrays are not the optimiser's own
        assert not any(value is own for own in resumed.state.values() if isinstance(own, np.ndarray))


def test_a_state_that_does_not_fit_is_refused():
    net = make_net()
    good = {"mean": np.ones(7), "square_mean": np.ones(7), "step": 3}
    optimizer = Adam()
    with pytest.raises(
        ValueError, match=r"Adam: the state must hold \['mean', 'square_mean', 'step'\]; got \['mean'\]"
    ):
        optimizer.load_state(net, {"mean": np.ones(7)})
    with pytest.raises(
        ValueError, match=r"state 'square_mean' must have shape \(7,\) and dtype float64; got shape \(8,\)"
    ):
        optimizer.load_state(net, {**good, "square_mean": np.ones(8)})
    with pytest.raises(
        ValueError, match=r"state 'mean' must have .* dtype float64; got shape \(7,\) and dtype float32"
    ):
        optimizer.load_state(net, {**good, "mean": np.ones(7, np.float32)})
    with pytest.raises(ValueError, match=r"Adam: state 'step' must be 0 or more; got -1"):
        optimizer.load_state(net, {**good, "step": -1})
    assert optimizer.state["step"] == 0
    np.testing.assert_array_equal(optimizer.state["mean"], 0)
    optimizer.load_state(net, good)
    assert optimizer.state["step"] == 3


@pytest.mark.parametrize("optimizer", DEFAULTS, ids=repr)
def test_an_optimizer_belongs_to_one_net(optimizer):
    optimizer = type(optimizer)(**optimizer.config())
    net, other = make_net(), make_net()
    optimizer.step(net)
    optimizer.step(net)
    before = other.flat_params.copy()
    with pytest.raises(ValueError, match=r"has begun with another net, .*; make a new optimiser"):
        optimizer.step(other)
    np.testing.assert_array_equal(other.flat_params, before)


# Options


@pytest.mark.parametrize("optimizer", DEFAULTS, ids=repr)
def test_config_rebuilds_and_repr_is_the_constructor(optimizer):
    assert type(optimizer)(**optimizer.config()).config() == optimizer.config()
    assert eval(repr(optimizer)).config() == optimizer.config()


def test_repr_and_defaults():
    assert repr(SGD(lr=0.1, momentum=0.9, weight_decay=5e-4)) == "SGD(lr=0.1, momentum=0.9, weight_decay=0.0005)"
    assert repr(AdamW()) == "AdamW()"
    assert Adam(betas=[0.8, 0.9]).config() == {
        "lr": 1e-3,
        "betas": (0.8, 0.9),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "decay_all": False,
        "groups": None,
    }
    assert AdamW().weight_decay == 0.01


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (SGD, {"lr": -0.1}, r"SGD: lr must be at least 0; got -0.1"),
        (SGD, {"lr": math.nan}, r"SGD: lr must be at least 0; got nan"),
        (SGD, {"lr": math.inf}, r"SGD: lr must be at least 0; got inf"),
        (SGD, {"lr": 0.1, "momentum": 1}, r"SGD: momentum must be at least 0 and below 1; got 1"),
        (SGD, {"lr": 0.1, "nesterov": True}, r"SGD: nesterov needs a momentum above 0; got momentum=0"),
        (SGD, {"lr": 0.1, "weight_decay": -1}, r"SGD: weight_decay must be at least 0; got -1"),
        (RMSProp, {"alpha": 1.0}, r"RMSProp: alpha must be at least 0 and below 1; got 1.0"),
        (RMSProp, {"eps": 0}, r"RMSProp: eps must be above 0; got 0"),
        (Adagrad, {"eps": -1e-3}, r"Adagrad: eps must be above 0; got -0.001"),
        (Adam, {"betas": (0.9, 1.0)}, r"Adam: betas must be at least 0 and below 1; got 1.0"),
        (AdamW, {"betas": (-0.1, 0.9)}, r"AdamW: betas must be at least 0 and below 1; got -0.1"),
        (AdamW, {"eps": 0.0}, r"AdamW: eps must be above 0; got 0.0"),
    ],
)
def test_options_out_of_range(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (SGD, {"lr": "0.1"}, r"SGD: lr must be a number; got '0.1'"),
        (SGD, {"lr": True}, r"SGD: lr must be a number; got True"),
        (SGD, {"lr": 0.1, "nesterov": 1, "momentum": 0.9}, r"SGD: nesterov must be True or False; got 1"),
        (Adam, {"decay_all": 0}, r"Adam: decay_all must be True or False; got 0"),
        (Adam, {"betas": 0.9}, r"Adam: betas must be two numbers \(beta1, beta2\); got 0.9"),
        (AdamW, {"betas": (0.9,)}, r"AdamW: betas must be two numbers \(beta1, beta2\); got \(0.9,\)"),
        (AdamW, {"betas": (0.9, None)}, r"AdamW: betas must be a number; got None"),
    ],
)
def test_options_of_another_type(make, options, message):
    with pytest.raises(TypeError, match=message):
        make(**options)


@pytest.mark.parametrize("factor", [-1, math.nan, math.inf])
def test_a_bad_factor_changes_nothing(factor):
    net, optimizer = make_net(), Adam()
    net.flat_grads[...] = 1
    before = net.flat_params.copy()
    with pytest.raises(ValueError, match=r"Adam: factor must be at least 0; got"):
        optimizer.step(net, factor=factor)
    np.testing.assert_array_equal(net.flat_params, before)
    assert optimizer.state["step"] == 0


def test_an_optimizer_of_ones_own():
    class SignSGD(Optimizer):
        def update(self, w, g, lr, decay, *own):
            w -= lr * np.sign(g + decay * w)

    net = make_net()
    net.flat_grads[...] = [1, -1, 2, -2, 0, 3, -3]
    before = net.flat_params.copy()
    SignSGD(lr=0.5).step(net)
    np.testing.assert_allclose(net.flat_params, before - [0.5, -0.5, 0.5, -0.5, 0, 0.5, -0.5])
    with pytest.raises(NotImplementedError, match=r"Optimizer has no update\(\)"):
        Optimizer(lr=0.1).step(net)


# On nets


def real_net(dtype=np.float32):
    return Sequential([Affine(5), BatchNorm(), Affine(3)], input_shape=(4,), rng=0, dtype=dtype)


def blobs():
    """Three clouds of points in four dimensions."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    return 2 * np.eye(3, 4)[labels] + rng.normal(size=(60, 4), scale=0.3), labels


def train(net, optimizer, steps=40):
    x, y = blobs()
    loss = SoftmaxLoss()
    values = []
    for _ in range(steps):
        values.append(loss.forward(net.forward(x), y))
        net.backward(loss.backward())
        optimizer.step(net)
    return values


@pytest.mark.parametrize(
    "optimizer",
    [SGD(lr=0.5), SGD(lr=0.2, momentum=0.9, nesterov=True), RMSProp(), Adagrad(lr=0.1), Adam(lr=0.03), AdamW(lr=0.03)],
    ids=repr,
)
def test_a_net_learns(optimizer):
    values = train(real_net(), optimizer)
    assert values[-1] < 0.2 * values[0]


def test_weight_decay_is_for_weights_alone():
    net = real_net()
    net.params["0.b"] = np.arange(5) + 1
    before = {name: array.copy() for name, array in net.params.items()}
    net.flat_grads[...] = 0
    SGD(lr=1.0, weight_decay=0.1).step(net)
    for name, array in net.params.items():
        np.testing.assert_allclose(array, before[name] * (0.9 if name.endswith("W") else 1), rtol=1e-6)
    SGD(lr=1.0, weight_decay=0.1, decay_all=True).step(net)
    np.testing.assert_allclose(net.params["0.b"], before["0.b"] * 0.9, rtol=1e-6)
    np.testing.assert_allclose(net.params["1.gamma"], before["1.gamma"] * 0.9, rtol=1e-6)


def test_a_frozen_layer_keeps_its_values():
    net = real_net()
    net[0].trainable = False
    before = {name: array.copy() for name, array in net.params.items()}
    train(net, AdamW(lr=0.03), steps=3)
    for name, array in net.params.items():
        assert np.array_equal(array, before[name]) == name.startswith("0."), name


def test_an_unbuilt_net_is_refused():
    optimizer = SGD(lr=0.1)
    net = Sequential([Affine(3)])
    with pytest.raises(RuntimeError, match=r"SGD\(lr=0.1\) needs a built net; build it, or run a forward\(\), before"):
        optimizer.step(net)
    net.build((4,), rng=0)
    optimizer.step(net)


def test_a_copy_of_the_net_needs_an_optimizer_of_its_own():
    net, optimizer = real_net(), SGD(lr=0.1)
    optimizer.step(net)
    with pytest.raises(ValueError, match=r"has begun with another net"):
        optimizer.step(net.copy())


def test_a_net_that_joins_another_needs_a_new_optimizer():
    inner, optimizer = real_net(), SGD(lr=0.1)
    optimizer.step(inner)
    Sequential([inner, Affine(2)], input_shape=(4,), rng=1)
    with pytest.raises(ValueError, match=r"has begun with another net"):
        optimizer.step(inner)


# Groups


def grouped(groups, **options):
    net = Sequential([Affine(3), BatchNorm(), Affine(2)], input_shape=(4,), rng=0, dtype=np.float64)
    net.flat_params[...] = np.random.default_rng(0).normal(size=net.flat_params.size)
    net.flat_grads[...] = np.random.default_rng(1).normal(size=net.flat_params.size)
    before = {name: array.copy() for name, array in net.params.items()}
    optimizer = SGD(lr=0.1, groups=groups, **options)
    return net, before, optimizer


def test_groups_by_hand():
    groups = {"*.gamma": {"lr_factor": 0.5, "weight_decay": 0.3}, "0.*": {"lr_factor": 2}, "2.W": {"weight_decay": 0}}
    net, w, optimizer = grouped(groups, weight_decay=0.01)
    optimizer.step(net, factor=0.5)
    lr, g = 0.1 * 0.5, net.grads
    expected = {
        "0.W": w["0.W"] - 2 * lr * (g["0.W"] + 0.01 * w["0.W"]),
        "0.b": w["0.b"] - 2 * lr * g["0.b"],
        "1.gamma": w["1.gamma"] - 0.5 * lr * (g["1.gamma"] + 0.3 * w["1.gamma"]),
        "1.beta": w["1.beta"] - lr * g["1.beta"],
        "2.W": w["2.W"] - lr * g["2.W"],
        "2.b": w["2.b"] - lr * g["2.b"],
    }
    for name, array in net.params.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, err_msg=name)


def test_the_first_group_that_fits_counts():
    net, w, optimizer = grouped({"0.W": {"lr_factor": 0}, "*": {"lr_factor": 1}, "0.*": {"lr_factor": 7}})
    optimizer.step(net)
    np.testing.assert_array_equal(net.params["0.W"], w["0.W"])
    np.testing.assert_allclose(net.params["0.b"], w["0.b"] - 0.1 * net.grads["0.b"])


@pytest.mark.parametrize("optimizer", [SGD(0.1, 0.9), RMSProp(), Adagrad(), Adam(weight_decay=0.1), AdamW()])
def test_groups_that_change_nothing_change_nothing(optimizer):
    one, *_ = grouped(None)
    two = one.copy()
    two.flat_grads[...] = one.flat_grads
    twin = type(optimizer)(**(optimizer.config() | {"groups": {"*": {"lr_factor": 1}}}))
    for _ in range(3):
        optimizer.step(one)
        twin.step(two)
    np.testing.assert_array_equal(one.flat_params, two.flat_params)


def test_frozen_layers_are_in_no_group():
    net, w, optimizer = grouped({"0.*": {"lr_factor": 3, "weight_decay": 1}})
    net[0].trainable = False
    optimizer.step(net)
    for name in ("0.W", "0.b"):
        np.testing.assert_array_equal(net.params[name], w[name])
    assert (net.params["2.W"] != w["2.W"]).all()


def test_a_fresh_optimizer_has_no_memory():
    net, _, optimizer = grouped({"*": {"lr_factor": 2}}, momentum=0.9)
    optimizer.step(net)
    fresh = optimizer.fresh()
    assert repr(fresh) == repr(optimizer)
    assert fresh.state == {}
    fresh.step(net.copy())
    assert optimizer.state["velocity"] is not fresh.state["velocity"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"5.*": {}}, r"SGD: groups must name parameters; '5\.\*' fits none of \['0\.W', "),
        (3, r"SGD: groups must be \{pattern: .*; got 3"),
        ({3: {}}, "SGD: groups must have patterns of names as keys; got 3"),
        (
            {"*": {"lr": 1}},
            r"""SGD: the group '\*' must be a dict of "lr_factor", "weight_decay", "schedule"; got \{'lr': 1\}""",
        ),
        ({"*": {"lr_factor": -1}}, r"SGD: lr_factor of '\*' must be at least 0; got -1"),
    ],
)
def test_wrong_groups(groups, message):
    net, *_ = grouped(None)
    with pytest.raises((TypeError, ValueError), match=message):
        SGD(lr=0.1, groups=groups).step(net)
