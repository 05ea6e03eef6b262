import itertools
import math

import numpy as np
import pytest

from cnnlayers.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    StepDecay,
)

ALL = [
    Constant(warmup=2),
    StepDecay(every=3),
    StepDecay(every=(2, 5), factor=0.5, warmup=1),
    Exponential(decay=0.9),
    Cosine(final=0.1, warmup=1.5),
    OneCycle(rise=0.4, start=0.1, final=0.01),
    Polynomial(power=2.0, warmup=1),
]


def values(schedule, total, steps_per_epoch=None):
    if steps_per_epoch is not None:
        schedule.prepare(steps_per_epoch)
    return [schedule(step, total) for step in range(total)]


def test_constant():
    assert values(Constant(), 3) == [1, 1, 1]


def test_warmup_is_a_line_to_1():
    assert values(Constant(warmup=2), 6, steps_per_epoch=2) == [0.25, 0.5, 0.75, 1, 1, 1]


def test_steps_of_the_warmup():
    for warmup, steps_per_epoch, steps in ((0, 4, 0), (2, 4, 8), (0.5, 4, 2), (1 / 3, 10, 3)):
        schedule = Cosine(warmup=warmup)
        schedule.prepare(steps_per_epoch)
        assert schedule.warmup_steps == steps
    assert OneCycle().warmup_steps == 0  # without prepare


def test_warmup_may_be_part_of_an_epoch():
    assert values(Constant(warmup=0.5), 4, steps_per_epoch=4) == [0.5, 1, 1, 1]


def test_warmup_longer_than_the_training():
    assert values(Cosine(warmup=2), 4, steps_per_epoch=4) == [0.125, 0.25, 0.375, 0.5]


def test_the_rest_runs_over_the_steps_that_remain():
    with_warmup = values(Cosine(warmup=1), 9, steps_per_epoch=3)
    assert with_warmup[:3] == [1 / 3, 2 / 3, 1]
    assert with_warmup[3:] == values(Cosine(), 6)


def test_step_decay_every_few_epochs():
    got = values(StepDecay(every=2, factor=0.5), 10, steps_per_epoch=2)
    assert got == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_step_decay_at_milestones():
    got = values(StepDecay(every=[1, 3], factor=0.5), 10, steps_per_epoch=2)
    assert got == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]


def test_step_decay_counts_from_the_end_of_the_warmup():
    got = values(StepDecay(every=[1], factor=0.5, warmup=1), 6, steps_per_epoch=2)
    assert got == [0.5, 1, 1, 1, 0.5, 0.5]


def test_exponential_falls_by_decay_each_epoch():
    got = values(Exponential(decay=0.5), 9, steps_per_epoch=4)
    assert [got[0], got[4], got[8]] == [1, 0.5, 0.25]
    ratios = [b / a for a, b in itertools.pairwise(got)]
    np.testing.assert_allclose(ratios, 0.5**0.25)


def test_cosine():
    got = values(Cosine(), 4)
    np.testing.assert_allclose(got, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2], rtol=1e-14)
    assert Cosine()(4, 4) == 0
    np.testing.assert_allclose(values(Cosine(final=0.2), 2), [1, 0.6], rtol=1e-14)


def test_one_cycle_passes_its_three_points():
    got = values(OneCycle(rise=0.3, start=0.04, final=0.001), 20)
    np.testing.assert_allclose([got[0], got[5], got[19]], [0.04, 1, 0.001], rtol=1e-12)
    assert max(got) == got[5]
    assert got[:6] == sorted(got[:6])
    assert got[5:] == sorted(got[5:], reverse=True)
    assert OneCycle(rise=0.5)(1, 5) == pytest.approx(
        (0.04 + 1) / 2 + (1 - 0.04) / 2 * -math.cos(math.pi / 1.5), rel=1e-12
    )


@pytest.mark.parametrize("total", [1, 2, 3])
def test_one_cycle_of_a_few_steps(total):
    assert all(0 < value <= 1 for value in values(OneCycle(), total))


def test_polynomial():
    assert values(Polynomial(), 4) == [1, 0.75, 0.5, 0.25]
    assert values(Polynomial(power=2), 4) == [1, 0.5625, 0.25, 0.0625]
    assert values(Polynomial(final=0.5), 2) == [1, 0.75]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_a_pure_function_of_step_and_total(schedule):
    schedule = type(schedule)(**schedule.config())
    forward = values(schedule, 30, steps_per_epoch=4)
    backward = [schedule(np.int64(step), np.int64(30)) for step in reversed(range(30))]
    assert forward == backward[::-1]
    assert len(set(forward)) > 2
    assert all(type(value) is float and 0 <= value <= 1 for value in forward)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_past_the_end_it_stays_finite(schedule):
    schedule = type(schedule)(**schedule.config())
    schedule.prepare(4)
    assert all(0 <= schedule(step, 30) <= 1 for step in (30, 31, 300))


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_config_rebuilds_and_repr_is_the_constructor(schedule):
    twin = type(schedule)(**schedule.config())
    assert twin.config() == schedule.config()
    assert eval(repr(schedule)).config() == schedule.config()
    assert values(twin, 20, 3) == values(eval(repr(schedule)), 20, 3)


def test_repr():
    assert repr(Cosine(warmup=1)) == "Cosine(warmup=1.0)"
    assert repr(StepDecay(every=np.array([2, 4]))) == "StepDecay(every=(2, 4))"


@pytest.mark.parametrize("schedule", [Cosine(warmup=1), StepDecay(every=1), Exponential(decay=0.5)], ids=repr)
def test_epochs_need_prepare(schedule):
    schedule = type(schedule)(**schedule.config())
    with pytest.raises(
        RuntimeError, match=r"counts epochs, so it needs prepare\(steps_per_epoch\) before its first call"
    ):
        schedule(0, 10)
    schedule.prepare(5)
    assert schedule(0, 10) > 0


@pytest.mark.parametrize("schedule", [Constant(), Cosine(), OneCycle(), Polynomial()], ids=repr)
def test_steps_alone_need_no_prepare(schedule):
    assert schedule(0, 10) > 0


def test_a_schedule_of_ones_own():
    class Halves(Schedule):
        def curve(self, step, total_steps):
            return 1.0 if step < total_steps / 2 else 0.5

    assert values(Halves(warmup=1), 6, steps_per_epoch=2) == [0.5, 1, 1, 1, 0.5, 0.5]
    with pytest.raises(NotImplementedError, match=r"Schedule has no curve\(\)"):
        Schedule()(0, 1)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (Cosine, {"warmup": -1}, r"Cosine: warmup must be at least 0; got -1"),
        (Cosine, {"final": math.nan}, r"Cosine: final must be at least 0; got nan"),
        (StepDecay, {"every": 0}, r"StepDecay: every must be 1 or more; got 0"),
        (StepDecay, {"every": []}, r"StepDecay: every must be an int or increasing epochs; got \[\]"),
        (StepDecay, {"every": [3, 3]}, r"StepDecay: every must be an int or increasing epochs; got \[3, 3\]"),
        (StepDecay, {"every": 1, "factor": 0}, r"StepDecay: factor must be above 0; got 0"),
        (Exponential, {"decay": 0.0}, r"Exponential: decay must be above 0; got 0.0"),
        (OneCycle, {"rise": 1.0}, r"OneCycle: rise must be above 0 and below 1; got 1.0"),
        (OneCycle, {"start": 2}, r"OneCycle: start must be at least 0 and at most 1; got 2"),
        (OneCycle, {"final": -1}, r"OneCycle: final must be at least 0 and at most 1; got -1"),
        (Polynomial, {"power": 0}, r"Polynomial: power must be above 0; got 0"),
    ],
)
def test_options_out_of_range(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (Constant, {"warmup": True}, r"Constant: warmup must be a number; got True"),
        (Cosine, {"warmup": "1"}, r"Cosine: warmup must be a number; got '1'"),
        (StepDecay, {"every": 1.5}, r"StepDecay: every must be an int; got 1.5"),
        (StepDecay, {"every": [1, 2.0]}, r"StepDecay: every must be an int; got 2.0"),
        (StepDecay, {"every": True}, r"StepDecay: every must be an int; got True"),
    ],
)
def test_options_of_another_type(make, options, message):
    with pytest.raises(TypeError, match=message):
        make(**options)


def test_bad_calls():
    schedule = Cosine()
    with pytest.raises(ValueError, match=r"Cosine: step must be 0 or more; got -1"):
        schedule(-1, 10)
    with pytest.raises(ValueError, match=r"Cosine: total_steps must be 1 or more; got 0"):
        schedule(0, 0)
    with pytest.raises(TypeError, match=r"Cosine: step must be an int; got 1.0"):
        schedule(1.0, 10)
    with pytest.raises(ValueError, match=r"Cosine: steps_per_epoch must be 1 or more; got 0"):
        schedule.prepare(0)
    with pytest.raises(TypeError, match=r"Cosine: steps_per_epoch must be an int; got 2.5"):
        schedule.prepare(2.5)


# Plateaus


def factors(numbers, **options):
    schedule = ReduceOnPlateau(**options)
    out = []
    for number in numbers:
        schedule.update({"val_loss": number, "val_accuracy": number})
        out.append(schedule(0, 10))
    return out


@pytest.mark.parametrize(
    ("numbers", "options", "expected"),
    [
        ([3, 3, 3, 3, 3], {"factor": 0.5, "patience": 1}, [1, 1, 0.5, 0.5, 0.25]),
        ([3, 3, 2, 2, 2], {"factor": 0.5, "patience": 1}, [1, 1, 1, 1, 0.5]),
        ([3, 3, 3], {"factor": 0.1, "patience": 0, "min_factor": 0.05}, [1, 0.1, 0.05]),
        ([3, 4, 4], {"factor": 0.5, "patience": 0, "monitor": "val_accuracy"}, [1, 1, 0.5]),
        ([3, 2.5, 1], {"factor": 0.5, "patience": 0, "min_delta": 1}, [1, 0.5, 0.5]),
        ([math.nan, 3], {"factor": 0.5, "patience": 0}, [0.5, 0.5]),
    ],
)
def test_reduce_on_plateau_by_hand(numbers, options, expected):
    assert factors(numbers, **options) == pytest.approx(expected)


def test_reduce_on_plateau_warms_up_and_remembers():
    schedule = ReduceOnPlateau(factor=0.5, patience=0, warmup=1)
    for _ in range(2):
        schedule.update({"val_loss": 1.0})
    assert values(schedule, 4, steps_per_epoch=2) == [0.5, 1, 0.5, 0.5]
    twin = ReduceOnPlateau(**schedule.config())
    twin.load_state_dict(schedule.state_dict())
    for each in (schedule, twin):
        each.update({"val_loss": 1.0})
    assert values(twin, 4, steps_per_epoch=2) == [0.5, 1, 0.25, 0.25]
    assert twin.state_dict() == schedule.state_dict()


@pytest.mark.parametrize("options", [{"factor": 1}, {"factor": 0}, {"patience": -1}, {"min_factor": 2}])
def test_reduce_on_plateau_refuses(options):
    with pytest.raises(ValueError, match=f"ReduceOnPlateau: {next(iter(options))} must be"):
        ReduceOnPlateau(**options)
