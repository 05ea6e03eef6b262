"""What steps and inference work on: a net of `nets.py` and a batch of random images and labels."""

import numpy as np

from ..nets import DEPLOYED, NETS, SIGNALS, SIZES

SHALLOW = ("lenet", "course")


def tolerance(name: str) -> float:
    """Give how far sides may differ after a step, relative to the largest element of an array.

    Biases begin at 0 and then hold gradients, which jump where rounding moves a number across the kink of a ReLU or
    of a pool. In deep nets PyTorch's own two layouts differ by 2%.
    """
    return 1e-3 if name in SHALLOW else 5e-2


class Problem:
    """A batch, and a net that each side takes its parameters from."""

    lr = 1e-3  # small, so that the loss does not vanish, and the gradients with it, while the clock runs
    momentum = 0.9

    def __init__(self, name: str, batch: int) -> None:
        build, shape = (NETS | DEPLOYED | SIGNALS | SIZES)[name]
        rng = np.random.default_rng(0)
        self.x = rng.random((batch, *shape), np.float32)
        self.y = rng.integers(10, size=batch)
        self.net = build(input_shape=shape, rng=0)


def problem(name: str, batch: int, quick: bool = False) -> Problem:
    return Problem(name, min(batch, 3) if quick else batch)
