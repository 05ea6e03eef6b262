"""What the options name."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.command import factories
from cnnlayers.training import optimizers
from cnnlayers.training.optimizer import Optimizer


def data(shape, classes=3):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (12, *shape), dtype=np.uint8)
    return cl.datasets.arrays((x, np.arange(12) % classes))


@pytest.mark.parametrize(
    ("shape", "name"),
    [((8, 8, 1), "resnet"), ((28, 28, 1), "lenet"), ((32, 32, 3), "resnet8"), ((100, 3), "conv1d_classifier")],
)
def test_the_net_that_suits_a_shape(shape, name):
    assert factories.model_for(shape) == name


def test_every_net_of_the_zoo_is_a_choice():
    functions = [f for f in vars(cl.models).values() if getattr(f, "__module__", "") == "cnnlayers.models"]
    nets = {f.__name__ for f in functions if "classes" in getattr(f, "__annotations__", {})}
    assert {function.__name__ for function in factories.MODELS.values()} == nets - {"resnet"}  # which is of any depth
    assert set(factories.ZOO) <= set(factories.MODELS)


@pytest.mark.parametrize("name", factories.MODELS)
def test_every_net_is_built_for_the_data_and_scales_it(name):
    shape = (64, 2) if name == "conv1d_classifier" else (32, 32, 3)
    given = data(shape)
    net = factories.make_model(name, given, digits=False, rng=0, dtype="float64")
    assert isinstance(net[0], cl.Normalize)
    assert not isinstance(net[1], cl.Normalize)
    scaled = net[0].predict(given.train[0])
    np.testing.assert_allclose(scaled.reshape(-1, shape[-1]).mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.reshape(-1, shape[-1]).std(axis=0), 1)
    assert net.dtype == np.float64
    assert net.output_shape(shape) == (3,)
    assert net.classes == ("0", "1", "2")


def test_the_digits_nets_keep_their_own_scale_for_the_digits():
    net = factories.make_model("resnet", cl.datasets.digits(), digits=True, rng=0, dtype="float32")
    np.testing.assert_array_equal(net.flat_params, cl.models.digits_resnet(rng=0).flat_params)
    assert repr(net[0]) == "Normalize(4.9, 6.0)"


def test_every_optimizer_of_the_package_is_a_choice():
    classes = [value for value in vars(cl).values() if isinstance(value, type) and issubclass(value, Optimizer)]
    assert set(factories.OPTIMIZERS.values()) == set(classes)
    assert set(optimizers.__all__) == {cls.__name__ for cls in classes} <= set(cl.__all__)
    assert factories.defaults_of("momentum") == {"sgd": 0.9, "muon": 0.95}
    for name, cls in factories.OPTIMIZERS.items():  # without --lr too
        assert type(factories.make_optimizer(name)) is cls
    decays = {name: decay for name, decay in factories.defaults_of("weight_decay").items() if decay}
    assert decays == {"sgd": 5e-4, "adamw": 0.01}


def test_optimizers():
    assert repr(factories.make_optimizer("sgd")) == "SGD(lr=0.1, momentum=0.9, weight_decay=0.0005)"
    assert repr(factories.make_optimizer("sgd", 0.5, 0, 0)) == "SGD(lr=0.5)"
    for name in factories.OPTIMIZERS:
        optimizer = factories.make_optimizer(name, lr=0.25, weight_decay=0.125)
        assert (optimizer.lr, optimizer.weight_decay) == (0.25, 0.125)
    assert factories.make_optimizer("adamw").weight_decay == 0.01
    with pytest.raises(ValueError, match="--momentum is for --optimizer sgd or muon; got --optimizer adam"):
        factories.make_optimizer("adam", momentum=0.9)


@pytest.mark.parametrize("name", factories.SCHEDULES)
@pytest.mark.parametrize("epochs", [1, 10])
def test_schedules_give_factors(name, epochs):
    schedule = factories.make_schedule(name, epochs)
    schedule.prepare(steps_per_epoch=5)
    factors = [schedule(step, 5 * epochs) for step in range(5 * epochs)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0.9


def test_warmup_and_one_cycle():
    assert factories.make_schedule("cosine", 10).warmup == 1
    assert factories.make_schedule("cosine", 1).warmup == 0.5
    assert factories.make_schedule("cosine", 10, warmup=3).warmup == 3
    with pytest.raises(ValueError, match="--warmup is not for --schedule onecycle"):
        factories.make_schedule("onecycle", 10, warmup=3)


def test_exponential_ends_at_a_hundredth():
    schedule = factories.make_schedule("exponential", 10, warmup=0)
    schedule.prepare(steps_per_epoch=5)
    assert schedule(50, 50) == pytest.approx(0.01)


@pytest.mark.parametrize("shape", [(32, 32, 3), (8, 8, 1)])
def test_augmentations_change_images_of_their_shape(shape):
    x = data(shape).train[0]
    for name in factories.AUGMENTATIONS[1:]:
        changed = factories.make_augmentation(name, shape)(x, seed=0, epoch=0, indices=np.arange(len(x)))
        assert changed.shape == x.shape
        assert not np.array_equal(changed, x)
    assert factories.make_augmentation("none", shape) is None


@pytest.mark.parametrize("name", factories.AUGMENTATIONS)
def test_mixup_comes_last(name):
    x, y = data((8, 8, 1)).train
    rows = np.eye(3, dtype=np.float32)[y]
    augment = factories.make_augmentation(name, x.shape[1:], mixup=0.4)
    assert augment.mixes
    assert "Mixup(alpha=0.4)" in repr(augment)
    if name != "none":
        plain = factories.make_augmentation(name, x.shape[1:])
        assert repr(getattr(plain, "steps", (plain,)))[1:-1].rstrip(",") in repr(augment)
    new, mixed = augment(x, y=rows, seed=0, epoch=0, indices=np.arange(12))
    assert new.shape == x.shape
    assert new.dtype == np.float32
    np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=1e-6)
    assert not np.array_equal(mixed, rows)


def test_signals_are_not_augmented():
    message = re.escape("--augment standard changes images (H, W, C); the data's samples have shape (100, 3)")
    with pytest.raises(ValueError, match=message):
        factories.make_augmentation("standard", (100, 3))
    with pytest.raises(
        ValueError, match=r"--mixup changes images \(H, W, C\); the data's samples have shape \(100, 3\)"
    ):
        factories.make_augmentation("none", (100, 3), mixup=0.2)
