"""Optimisers, schedules and losses next to PyTorch's, where it is installed."""

from types import SimpleNamespace

import numpy as np
import pytest

from cnnlayers.training.losses import MSELoss, SigmoidLoss, SoftmaxLoss
from cnnlayers.training.optimizers import SGD, Adagrad, Adam, AdamW, RMSProp
from cnnlayers.training.schedules import Cosine, Exponential, OneCycle, Polynomial, StepDecay

torch = pytest.importorskip("torch")
optim = torch.optim

DECAY = {"weight_decay": 0.1}
OPTIMIZERS = [
    (SGD, "SGD", {"lr": 0.1}),
    (SGD, "SGD", {"lr": 0.1, "momentum": 0.9, **DECAY}),
    (SGD, "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, **DECAY}),
    (RMSProp, "RMSprop", {}),
    (RMSProp, "RMSprop", {"lr": 0.1, "alpha": 0.7, "eps": 0.2, **DECAY}),
    (Adagrad, "Adagrad", {}),
    (Adagrad, "Adagrad", {"lr": 0.1, "eps": 0.2, **DECAY}),
    (Adam, "Adam", {}),
    (Adam, "Adam", {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.2, **DECAY}),
    (AdamW, "AdamW", {}),
    (AdamW, "AdamW", {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.2, **DECAY}),
]
IDS = [f"{theirs}-{index}" for index, (_, theirs, _) in enumerate(OPTIMIZERS)]


@pytest.mark.parametrize(("make", "theirs", "options"), OPTIMIZERS, ids=IDS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_optimizers(make, theirs, options, dtype, rtol):
    rng = np.random.default_rng(0)
    start = rng.normal(size=40).astype(dtype)
    net = SimpleNamespace(built=True, flat_params=start.copy(), flat_grads=np.zeros(40, dtype))
    net.param_runs = lambda decay_all=False: [(slice(0, 40), True)]
    ours = make(**options)
    w = torch.nn.Parameter(torch.from_numpy(start.copy()))
    reference = getattr(optim, theirs)([w], **options)
    for _ in range(20):
        grad = rng.normal(size=40).astype(dtype)
        net.flat_grads[...] = grad
        ours.step(net)
        w.grad = torch.from_numpy(grad)
        reference.step()
    np.testing.assert_allclose(net.flat_params, w.detach().numpy(), rtol=rtol, atol=rtol)


SCHEDULERS = [
    (Cosine(final=0.1), 40, lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 40, eta_min=0.1)),
    (OneCycle(), 40, lambda o: optim.lr_scheduler.OneCycleLR(o, 1.0, 40, final_div_factor=400, cycle_momentum=False)),
    (
        OneCycle(rise=0.45, start=0.1, final=0.02),
        17,
        lambda o: optim.lr_scheduler.OneCycleLR(
            o, 1.0, 17, pct_start=0.45, div_factor=10, final_div_factor=5, cycle_momentum=False
        ),
    ),
    (Polynomial(power=2), 40, lambda o: optim.lr_scheduler.PolynomialLR(o, 40, power=2)),
    (StepDecay(every=2, factor=0.5), 40, lambda o: optim.lr_scheduler.StepLR(o, 8, gamma=0.5)),
    (StepDecay(every=[1, 4], factor=0.5), 40, lambda o: optim.lr_scheduler.MultiStepLR(o, [4, 16], gamma=0.5)),
    (Exponential(decay=0.9), 40, lambda o: optim.lr_scheduler.ExponentialLR(o, 0.9**0.25)),
]


@pytest.mark.parametrize(("schedule", "total", "make"), SCHEDULERS, ids=[repr(s) for s, _, _ in SCHEDULERS])
def test_schedules(schedule, total, make):
    schedule.prepare(steps_per_epoch=4)
    optimizer = optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    for step in range(total):
        assert schedule(step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12), step
        optimizer.step()
        if step < total - 1:
            scheduler.step()


both_reductions = pytest.mark.parametrize("reduction", ["mean", "sum"])


@both_reductions
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.0, 1.0]])
@pytest.mark.parametrize("ignore", [None, -100, 2])
def test_softmax_loss_of_labels(smoothing, weights, ignore, reduction):
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(12, 4), scale=3), rng.integers(0, 4, 12)
    if ignore is not None:
        labels[[3, 7]] = ignore
    loss = SoftmaxLoss(smoothing, weights, ignore, reduction)
    z = torch.tensor(scores, requires_grad=True)
    w = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    ignored = -100 if ignore is None else ignore
    expected = torch.nn.functional.cross_entropy(
        z, torch.tensor(labels), weight=w, label_smoothing=smoothing, ignore_index=ignored, reduction=reduction
    )
    expected.backward()
    assert loss.forward(scores, labels) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), z.grad.numpy(), rtol=1e-11, atol=1e-15)


@both_reductions
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_softmax_loss_of_rows(smoothing, reduction):
    rng = np.random.default_rng(0)
    scores, rows = rng.normal(size=(12, 4), scale=3), rng.dirichlet(np.ones(4), 12)
    loss = SoftmaxLoss(smoothing, reduction=reduction)
    z = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(z, torch.tensor(rows), label_smoothing=smoothing, reduction=reduction)
    expected.backward()
    assert loss.forward(scores, rows) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), z.grad.numpy(), rtol=1e-11, atol=1e-15)


@both_reductions
def test_mse_loss(reduction):
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    loss = MSELoss(reduction)
    z = torch.tensor(scores, requires_grad=True)
    expected = torch.nn.functional.mse_loss(z, torch.tensor(target), reduction=reduction)
    expected.backward()
    assert loss.forward(scores, target) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), z.grad.numpy(), rtol=1e-13)


@both_reductions
def test_sigmoid_loss(reduction):
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(7, 4), scale=3), rng.random((7, 4))
    loss = SigmoidLoss(pos_weight=[0.5, 2, 0, 1], reduction=reduction)
    z, a = torch.tensor(scores, requires_grad=True), torch.tensor([0.5, 2, 0, 1], dtype=torch.float64)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        z, torch.tensor(target), pos_weight=a, reduction=reduction
    )
    expected.backward()
    assert loss.forward(scores, target) == pytest.approx(expected.item(), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), z.grad.numpy(), rtol=1e-11, atol=1e-15)
