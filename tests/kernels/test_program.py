"""The door to programs: it refuses what does not fit, and nothing lies in the place of what is still needed."""

import numpy as np
import pytest

from cnnlayers import _kernels
from cnnlayers.geometry import window
from cnnlayers.kernels import NothingToCompute, Program

F = np.float32
PLACE, POOL = window((6, 6, 4), 3), window((6, 6, 4), 2, 2)
W, B, C = np.ones((3, 3, 4, 8), F), np.ones(8, F), np.ones(4, F)


def begun(dtype=F):
    program = Program(dtype)
    return program, program.input((2, 6, 6, 4))


def body(n, n_threads, dtype=F):
    """A program for a part of the batch."""
    program = Program(dtype, n_threads)
    program.finish(program.relu(program.input((n, 6, 6, 4))))
    return program


def two_convs(channels=4, filters=16, packed=True, **slide):
    """A depthwise convolution of 3x3 and a 1x1 convolution."""
    first = window((6, 6, channels), 3, **slide)
    last = window((*first.out, channels), 1)
    V = np.ones((1, 1, channels, filters), F)
    ready = _kernels.PackedConv(V, None, last) if packed else None
    return (np.ones((3, 3, 1, channels), F), None, first, True, None), (V, None, last, False, ready)


WRONG = {
    "conv, W of the other precision": lambda p, x: p.conv_forward(x, W.astype("f8"), B, PLACE, kernel="direct"),
    "conv, too few biases": lambda p, x: p.conv_forward(x, W, B[:7], PLACE, kernel="direct"),
    "conv, another window": lambda p, x: p.conv_forward(x, W, B, window((7, 6, 4), 3), kernel="direct"),
    "conv, a sum of another size": lambda p, x: p.conv_forward(x, W, B, PLACE, plus=x, kernel="direct"),
    "conv, a kernel that cannot": lambda p, x: p.conv_forward(x, W, B, PLACE, kernel="depthwise"),
    "conv, tiles that are not there": lambda p, x: p.conv_forward(x, W, B, PLACE, side=3, kernel="winograd"),
    "two convs, x of another size": lambda p, x: p.separable(x, *two_convs(16)),
    "two convs, not packed": lambda p, x: p.separable(x, *two_convs(16, packed=False)),
    "two convs, few filters": lambda p, x: p.separable(x, *two_convs(16, 1)),
    "two convs, holes": lambda p, x: p.separable(x, *two_convs(16, dilation=2)),
    "two convs, the other way round": lambda p, x: p.separable(x, *two_convs(16)[::-1]),
    "transposed conv": lambda p, x: p.conv_input_grad(x, W, PLACE, kernel="direct"),
    "affine": lambda p, x: p.affine(x, np.ones((4, 8), F), B, kernel="direct"),
    "add": lambda p, x: p.add(x, p.global_avg_pool(x)),
    "multiply": lambda p, x: p.multiply(x, p.global_avg_pool(x)),
    "scale_channels": lambda p, x: p.scale_channels(x, x),
    "add_bias": lambda p, x: p.add_bias(x, B),
    "batch norm": lambda p, x: p.batch_norm_apply(x, C, C, C, B),
    "group norm": lambda p, x: p.group_norm(x, 3, C, C, 1e-5),
    "layer norm": lambda p, x: p.layer_norm(x, C, B, 1e-5),
    "max pool": lambda p, x: p.max_pool(x, window((6, 7, 4), 2)),
    "max pool, a large window": lambda p, x: p.max_pool(x, window((6, 6, 4), 16, padding=8)),
    "average pool": lambda p, x: p.avg_pool(x, POOL, np.ones((3, 2), F)),
    "concatenate": lambda p, x: p.concatenate([x, p.max_pool(x, POOL)]),
    "reshape": lambda p, x: p.reshape(x, (2, 6, 6, 5)),
    "a second input": lambda p, x: p.input((2, 3)),
    "a value of another program": lambda p, x: p.relu(begun()[1]),
    "an activation that is not there": lambda p, x: p.activation(x, "relu7"),
    "no value": lambda p, x: p.relu(None),
    "an array for a value": lambda p, x: p.relu(np.ones((2, 6, 6, 4), F)),
    "parts by a program that is not finished": lambda p, x: p.in_parts(x, 2, [begun()[0]] * 2),
    "parts by a program on two threads": lambda p, x: p.in_parts(x, 2, [body(1, 2)] * 2),
    "parts by a program of the other precision": lambda p, x: p.in_parts(x, 2, [body(1, 1, np.float64)] * 2),
    "parts of another size": lambda p, x: p.in_parts(x, 2, [body(2, 1)] * 2),
    "more parts than samples": lambda p, x: p.in_parts(x, 3, [body(1, 1)] * 2),
    "no parts": lambda p, x: p.in_parts(x, 0, [body(1, 1)] * 2),
    "not finished": lambda p, x: p.run(np.ones((2, 6, 6, 4), F)),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused(what):
    program, x = begun()
    with pytest.raises((ValueError, TypeError, KeyError)):
        WRONG[what](program, x)


def test_what_is_refused_leaves_the_program_as_it_was():
    program, x = begun()
    for wrong in WRONG.values():
        before = len(program)
        with pytest.raises((ValueError, TypeError, KeyError)):
            wrong(program, x)
        assert len(program) <= before + 1  # the global pool of a call that is refused for its operand


def test_an_array_of_no_numbers():
    with pytest.raises(NothingToCompute, match=r"at least one number; got shape \(0, 3\)"):
        Program(F).input((0, 3))


def test_x_must_be_what_was_said():
    program, x = begun()
    assert program.finish(program.relu(x))
    for wrong in (np.ones((2, 6, 6, 3), F), np.ones((2, 6, 6, 4)), np.ones((4, 6, 6, 4), F)[::2]):
        with pytest.raises(ValueError, match=r"x must hold 288 numbers of float32|contiguous"):
            program.run(wrong)
    with pytest.raises(ValueError, match="takes no more calls"):
        program.relu(x)


def test_a_program_of_nothing():
    program, x = begun()
    assert not program.finish(program.reshape(x, (2, 144)))


@pytest.mark.parametrize("seed", range(20))
def test_places_by_chance(seed):
    """Sums of values taken at random, old and new: none is overwritten before it is read for the last time."""
    rng = np.random.default_rng(seed)
    program = Program(np.float64)
    x = np.random.default_rng(1).standard_normal((2, 3, 4))
    values, arrays = [program.input(x.shape)], [x]

    def take():
        return int(rng.integers(max(0, len(values) - 6), len(values)))

    for _ in range(40):
        i, j = take(), take()
        a, b, u, v = values[i], values[j], arrays[i], arrays[j]
        what = rng.integers(6)
        if what == 0:
            value, array = program.relu(a), np.maximum(u, 0)
        elif what == 1:
            value, array = program.concatenate([a, b]), np.concatenate([u, v], -1)
            value, array = program.global_avg_pool(value), array.mean(1)
            kept = np.ones((array.shape[1], 12))
            value, array = program.affine(value, kept, None, kernel="direct"), array @ kept
            value, array = program.reshape(value, (2, 3, 4)), array.reshape(2, 3, 4)
        elif what == 2:
            value, array = program.leave(lambda u, v: u - v, [a, b], x.shape), u - v
        elif what == 3:
            value, array = program.add_bias(a, np.arange(4.0)), u + np.arange(4.0)
        else:
            value, array = program.add(a, b), u + v
        values.append(value)
        arrays.append(array / 1)
    assert program.finish(values[-1])
    for _ in range(2):
        np.testing.assert_allclose(program.run(x), arrays[-1], rtol=1e-9)


def test_the_numbers_of_threads_and_the_level_are_those_of_the_beginning():
    program, x = begun()
    y = program.conv_forward(x, W, B, PLACE, kernel="direct")
    assert program.finish(y)
    before = _kernels.level()
    array = np.random.default_rng(0).standard_normal((2, 6, 6, 4)).astype(F)
    expected = program.run(array)
    try:
        for name in _kernels.levels():
            _kernels.set_level(name)
            np.testing.assert_array_equal(program.run(array), expected)
    finally:
        _kernels.set_level(before)
