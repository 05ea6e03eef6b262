"""python -m benchmarks.peak_memory SIDE NET BATCH STEPS: train, and print the megabytes that the process held at most.

PyTorch's process has cnnlayers loaded too, which describes the net; what that takes is measured and taken off.
"""

import sys


def main(side: str, net: str, batch: str, steps: str) -> None:
    if side != "cnnlayers":
        import torch  # noqa: F401
    before = resident("VmRSS")
    import cnnlayers  # noqa: F401

    loaded = resident("VmRSS") - before
    from .suites import step, training

    training_side = step.SIDES[side](training.Problem(net, int(batch)))
    for _ in range(int(steps)):
        training_side.step()
    print(resident("VmHWM") - (0 if side == "cnnlayers" else loaded))


def resident(name: str) -> float:
    """Megabytes of resident memory: VmRSS now, VmHWM at most."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
            return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))
    except (OSError, StopIteration):  # not Linux: the peak alone is known
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
