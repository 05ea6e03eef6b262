"""Whether net, loss and targets go together: found when the Solver is made; batches in which nothing counts."""

import re

import numpy as np
import pytest

import cnnlayers as cl
from cnnlayers.training.agreement import counts
from cnnlayers.training.metrics import confusion
from cnnlayers.training.ranks import Ranks
from cnnlayers.training.step import Step
from tests.training.solving import Bare, Batches, batches, bits, raises, solver_of

IGNORED = -7


def net(built=True, out=3):
    layers = [cl.Affine(6), cl.BatchNorm(), cl.ReLU(), cl.Dropout(0.2), cl.Affine(out)]
    return cl.Sequential(layers, **({"input_shape": (3,), "rng": 0} if built else {}))


def labelled(y, n=None):
    y = np.asarray(y)
    return np.random.default_rng(1).normal(size=(len(y) if n is None else n, 3)), y


GOOD = labelled(np.arange(12) % 3)


def with_part(part, bad, **options):
    parts = {"train": GOOD, "val": GOOD} | {part: bad}
    return solver_of(options.pop("net", None) or net(), parts["train"], parts["val"], **options)


# Labels in arrays


LABELS = [
    (
        [0, 1, 2, 1, 5, 0],
        ValueError,
        "labels must be integers in 0..2; got 5 at position 4 (the smallest is 0, the lar",
    ),
    ([0, 1, 2, 1, -1, 0], ValueError, "got -1 at position 4 (the smallest is -1, the largest 2)"),
    ([1, 2, 3, 1, 2], ValueError, "got 3 at position 2 (the smallest is 1, the largest 3): do your labels begin at 1?"),
    ([2, 2, 3, 2], ValueError, "(the smallest is 2, the largest 3): do your labels begin at 1? Then take y - 1"),
    ([0.0, 1.0, 2.0], TypeError, "labels must be integers in 0..2; got dtype float64; take y.astype(int)"),
    ([0.0, 1.5, 2.0], TypeError, "labels must be integers in 0..2; got dtype float64"),
    ([True, False], TypeError, "got dtype bool; take y.astype(int)"),
    (["a", "b"], TypeError, "got dtype <U1; np.unique(y, return_inverse=True)[1] numbers them"),
    ([[0], [1], [2]], ValueError, "; take y[:, 0]"),
    ([[[0]], [[1]], [[2]]], ValueError, "; take y.ravel()"),
]


@pytest.mark.parametrize("built", [True, False])
@pytest.mark.parametrize("loss", [cl.SoftmaxLoss, cl.HingeLoss])
@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize(("y", "kind", "said"), LABELS)
def test_labels_are_checked_when_the_solver_is_made(y, kind, said, part, loss, built):
    with pytest.raises(kind, match=rf"^Solver: {part}: .*{re.escape(said)}"):
        with_part(part, labelled(y), loss=loss(), net=net(built))


def test_the_position_is_that_in_the_array():
    y = np.zeros(1000, int)
    y[777] = 3
    with pytest.raises(
        ValueError, match=r"^Solver: train: .* got 3 at position 777 \(the smallest is 0, the largest 3\)$"
    ):
        with_part("train", labelled(y))


def test_two_classes_for_one_score():
    with pytest.raises(
        ValueError, match=r"in 0\.\.0; got 1 at .*: two classes need two scores, a last layer Affine\(2\)"
    ):
        solver_of(net(out=1), labelled([0, 1]))


@pytest.mark.parametrize("part", ["train", "val"])
def test_rows_are_checked_too(part):
    rows = np.eye(3)[np.arange(70000) % 3]
    with_part(part, labelled(rows))
    rows[69999] = 0.4
    with pytest.raises(ValueError, match=rf"^Solver: {part}: probability rows must sum to 1; got 1.2 in row 69999"):
        with_part(part, labelled(rows))
    with pytest.raises(ValueError, match=rf"Solver: {part}: .* need integer labels \(4,\) or .*; got shape \(4, 2\)"):
        with_part(part, labelled(np.eye(2)[[0, 1, 0, 1]]))
    with pytest.raises(ValueError, match=r"HingeLoss|Solver: .*; of one-hot rows take y\.argmax\(axis=1\)"):
        with_part(part, labelled(np.eye(3)), loss=cl.HingeLoss())


def test_as_many_weights_as_scores():
    with pytest.raises(ValueError, match="SoftmaxLoss: 3 classes need 3 class_weights; got 2"):
        with_part("train", GOOD, loss=cl.SoftmaxLoss(class_weights=[1, 2]))


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize(
    ("shape", "cure"), [((12,), r"; take y\[\.\.\., None\]"), ((12, 3), ""), ((12, 1, 1), r"; take y\[\.\.\., 0\]")]
)
def test_targets_of_a_regression(shape, cure, part):
    x, _ = GOOD
    with pytest.raises(
        ValueError, match=rf"Solver: {part} needs a target of the scores' shape \(12, 1\); got .*\){cure}$"
    ):
        solver_of(
            net(out=1),
            (x, np.zeros(shape if part == "train" else (12, 1))),
            (x, np.zeros(shape if part == "val" else (12, 1))),
            loss=cl.MSELoss(),
        )


def test_ignored_labels_are_no_mistake():
    y = np.arange(12) % 3
    y[3:9] = IGNORED
    loss = cl.SoftmaxLoss(ignore_label=IGNORED)
    assert len(with_part("train", labelled(y), loss=loss).train()) == 2
    y[5] = 3
    with pytest.raises(ValueError, match=r"Solver: val: .* got 3 at position 5 \(the smallest is 0, the largest 3\)"):
        with_part("val", labelled(y), loss=loss)


def test_nothing_of_ones_own_is_checked():
    class Mine(cl.SoftmaxLoss):
        def forward(self, scores, target):
            return super().forward(scores, np.asarray(target)[:, 0] - 1)

    one = labelled((np.arange(12) % 3 + 1)[:, None])
    assert len(solver_of(net(), one, one, loss=Mine(), metrics={}).train()) == 2
    assert len(solver_of(net(), one, one, loss=Bare(), metrics={}).train()) == 2


def test_a_loss_of_ones_own_may_check_too():
    class Mine(cl.MSELoss):
        def forward(self, scores, target):
            return super().forward(scores, target)

        def check_targets(self, target, output_shape, who=""):
            raise ValueError(f"{who} {output_shape}")

    with pytest.raises(ValueError, match=r"^Solver: train \(3,\)$"):
        solver_of(net(), GOOD, loss=Mine())


def test_a_mixing_augmentation_has_labels_to_mix():
    mix = cl.augment.Mixup(0.2)
    with pytest.raises(ValueError, match=r"^Solver: train: .* got 3 at position 1 .*do your labels begin at 1"):
        solver_of(net(), labelled([1, 3, 2]), augment=mix)


def test_an_augmentation_may_change_the_size_of_maps():
    def crop(x, rng):
        return x[:, :4, :4]

    layers = [cl.Conv(1, 1)]
    x, y = np.zeros((4, 6, 6, 1)), np.zeros((4, 4, 4, 1))
    solver_of(cl.Sequential(layers), (x, y), loss=cl.MSELoss(), augment=crop).train(1)


@pytest.mark.parametrize("call", ["evaluate", "accuracy", "confusion", "softmax", "hinge"])
def test_the_cure_for_columns_of_labels_is_named_everywhere(call):
    x, y = labelled([[0], [1], [2]])
    scores = np.zeros((3, 3))
    ways = {
        "evaluate": lambda: solver_of(net(), GOOD).evaluate(x, y),
        "accuracy": lambda: cl.accuracy(scores, y),
        "confusion": lambda: confusion(scores, y, 3),
        "softmax": lambda: cl.SoftmaxLoss().forward(scores, y),
        "hinge": lambda: cl.HingeLoss().forward(scores, y),
    }
    with pytest.raises(ValueError, match=r"; take y\[:, 0\]$"):
        ways[call]()


# Batches that come one by one


def test_the_batch_of_an_iterable_is_named():
    good = batches(12)
    bad = [*good[:2], (good[2][0], good[2][1] + 1)]
    with pytest.raises(ValueError, match=r"^Solver: train, batch 3: labels must be integers in 0\.\.1; got 2 at posi"):
        solver_of(train=bad).train()
    with pytest.raises(ValueError, match=r"^Solver: train, batch 3: .*the largest 2\): do your labels begin at 1"):
        solver_of(train=bad, accumulate=3).train()
    with pytest.raises(
        ValueError, match=r"^Solver: val, batch 3: labels must be integers in 0\.\.1; got 2 at position"
    ):
        solver_of(val=bad).train()
    bad[1] = good[1][0], good[1][1][:3]
    with pytest.raises(
        ValueError, match=r"^Solver: train, batch 2 needs as many targets as samples, 4; got shape \(3,\)"
    ):
        solver_of(train=bad).train()


# What counts


@pytest.mark.parametrize(
    ("options", "target", "expected"),
    [
        ({}, [0, 1], True),
        ({}, np.zeros(0, int), False),
        ({"ignore_label": -7}, [-7, -7], False),
        ({"ignore_label": -7}, [-7, 1], True),
        ({"ignore_label": -7}, [-7, 99], True),  # forward refuses it
        ({"ignore_label": 255}, np.array([255, 255], np.uint8), False),
        ({"class_weights": [0, 1]}, [0, 0], False),
        ({"class_weights": [0, 1]}, [0, 1], True),
        ({"class_weights": [0, 1]}, [0, 2], True),
        ({"class_weights": [0, 1], "ignore_label": 1}, [0, 1], False),
        ({"class_weights": [0, 1]}, [[1.0, 0.0], [1.0, 0.0]], False),
        ({"class_weights": [0, 1]}, [[1.0, 0.0], [0.9, 0.1]], True),
        ({"class_weights": [0, 1]}, [[1.0, np.nan], [1.0, 0.0]], True),
        ({"class_weights": [0, 1]}, [[1.0, 0.0, 0.0]], True),
        ({"ignore_label": -7}, [[1.0, 0.0]], True),
        ({"ignore_label": -7}, [0.5], True),
    ],
)
def test_what_softmax_loss_counts(options, target, expected):
    assert cl.SoftmaxLoss(**options).counts(target) is expected


def test_a_loss_without_an_answer_counts_all_but_empty_batches():
    class Mine(cl.SoftmaxLoss):
        def forward(self, scores, target):
            return super().forward(scores, target)

    assert cl.HingeLoss().counts([0])
    assert cl.MSELoss().counts([0])
    for loss in (Mine(ignore_label=1), object()):
        assert counts(loss, np.zeros((1, 3)), [1])
        assert not counts(loss, np.zeros((0, 3)), [])


NOTHING = {
    "ignored": lambda x, y: (x, np.full(len(y), IGNORED)),
    "weight 0": lambda x, y: (x, np.full(len(y), 2)),
    "rows of weight 0": lambda x, y: (x, np.eye(3)[np.full(len(y), 2)]),
    "empty": lambda x, y: (x[:0], y[:0]),
}


def loss():
    return cl.SoftmaxLoss(ignore_label=IGNORED, class_weights=[1, 2, 0])


def weighed(n=11):
    return batches(n, 2)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("what", NOTHING)
def test_a_batch_in_which_nothing_counts_is_left_out(what, accumulate):
    given, stepped = weighed(), []
    spread = given.copy()
    for place in (0, 3, 4, 5):  # with accumulate=2 a group of which one counts, twice, and one of which none does
        spread.insert(place, NOTHING[what](*given[0]))
    groups = [spread[i : i + accumulate] for i in range(0, len(spread), accumulate)]
    kept = [[batch if counts(loss(), *batch) else () for batch in group] for group in groups]
    watch = cl.LambdaCallback(on_step=lambda s: stepped.append(s.step))
    solver = solver_of(
        net(), spread, loss=loss(), optimizer=cl.Adam(lr=0.01), accumulate=accumulate, callbacks=[watch], epochs=1
    )
    history = solver.train()

    twin = solver_of(net(), given, loss=loss(), optimizer=cl.Adam(lr=0.01), epochs=1)
    losses = []
    for group in filter(any, kept):
        step = Step(twin.model, twin.loss, twin.optimizer, ranks=Ranks(None, accumulate))
        losses.append(step.take(group).loss)
    assert history.steps["loss"] == losses
    assert bits(solver) == bits(twin)
    assert stepped == list(range(1, len(losses) + 1))
    assert np.isfinite(history["train_loss"][0])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("at", range(1, 11))
def test_a_run_that_was_left_at_such_a_batch_ends_with_the_same_bits(at, accumulate, tmp_path):
    given = weighed()
    for place in (0, 3, 4, 5):
        given.insert(place, NOTHING["ignored"](*given[1]))

    def made(**broken):
        parts = {"loss": loss(), "optimizer": cl.Adam(lr=0.01), "schedule": cl.Cosine(), "accumulate": accumulate}
        return solver_of(net(), Batches(given, **broken), GOOD, checkpoint=tmp_path, **parts)

    whole = made()
    whole.train()
    left = made(at=at, action=raises(KeyboardInterrupt()))
    left.train()
    ends = [left]
    if (tmp_path / "last.safetensors").exists():
        ends.append(cl.Solver.resume(tmp_path, Batches(given), GOOD, progress=False))
    for each in ends:
        each.train()
        assert bits(each) == bits(whole)
        assert each.history.steps == whole.history.steps


@pytest.mark.parametrize("what", NOTHING)
def test_only_an_epoch_of_such_is_an_error(what):
    given = [NOTHING[what](*batch) for batch in weighed(6)]
    solver = solver_of(net(), given, loss=loss())
    with pytest.raises(ValueError, match=r"^Solver: nothing counts in the 3 batches of train: each is empty, or"):
        solver.train()
    assert solver.history.steps["loss"] == []
    if what != "empty":
        whole = tuple(map(np.concatenate, zip(*given, strict=True)))
        for part in ("train", "val"):
            with pytest.raises(
                ValueError, match=rf"^Solver: {part} needs .*; all 6 (are ignore_label=-7|have weight 0)"
            ):
                with_part(part, whole, loss=loss())


@pytest.mark.parametrize("what", ["ignored", "weight 0", "rows of weight 0"])
def test_validation_in_which_nothing_counts_is_named(what):
    given = [NOTHING[what](*batch) for batch in weighed(6)]
    with pytest.raises(
        ValueError, match=r"^Solver: no label of val counts: each is ignored, or of a class of weight 0"
    ):
        solver_of(net(), weighed(), given, loss=loss()).train()


def test_validation_leaves_out_what_is_empty_and_what_does_not_count():
    given = weighed()
    spread = [(x[:0], y[:0]) for x, y in given[:1]] + [([], [])] + given + [NOTHING["ignored"](*given[0])]
    solver = solver_of(net(), weighed(), spread, loss=loss(), keep="last")
    history = solver.train()
    whole = tuple(map(np.concatenate, zip(*given, strict=True)))
    assert history["val_loss"][-1] == pytest.approx(solver.evaluate(*whole)["loss"])


def test_trials_leave_them_out_too():
    given = [NOTHING["ignored"](*batch) for batch in weighed(6)] + weighed(6)
    solver = solver_of(net(), given, loss=loss())
    assert len(solver.overfit_batch(steps=3).losses) == 3
    with pytest.raises(ValueError, match="Solver: train gave no batches in which anything counts"):
        solver_of(net(), given[:3], loss=loss()).overfit_batch(steps=3)
