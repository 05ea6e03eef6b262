"""python -m benchmarks [suite ...]: run them and print tables."""

import argparse
import sys
from collections.abc import Sequence

from . import environment

SUITES = (
    *("conv", "step", "infer", "memory", "threads", "ranks", "import", "layer", "columns", "choice", "rounding"),
    "winograd",
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if "numpy" not in sys.modules:  # else it is too late: BLAS reads the number once
        environment.limit_threads(options.threads)
    from . import accuracy, command, speedrun, speedrun_parts  # they load NumPy

    alone = {"accuracy": accuracy, "speedrun": speedrun, "speedrun-parts": speedrun_parts}
    try:
        (alone.get(options.suites[0], command) if len(options.suites) == 1 else command).run(options)
    except (ValueError, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="cnnlayers beside plain loops, plain NumPy and, where they are installed, PyTorch and runtimes.",
    )
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="suite",
        help=f"{', '.join(SUITES)}; all if none is named. Or one of those that train, alone: accuracy, a quarter of an "
        "hour; speedrun, hours; or speedrun-parts, hours",
    )
    parser.add_argument(
        "--cases", default="", metavar="PATTERN", help="only cases whose name holds this (* and ? work)"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--repeats", type=positive, metavar="N", help="turns of each side (10; with --quick 1)")
    parser.add_argument(
        "--seconds",
        type=positive,
        metavar="S",
        default=2,
        help="begin no more turns of a case after so long, but for the first three (%(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        default=environment.available_cpus(),
        help="threads of every side (default: the CPUs that this process may use, %(default)s)",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="let torch.compile take part in step and infer: it compiles for up to a minute in each case",
    )
    parser.add_argument("--quick", action="store_true", help="tiny problems: to see that all works, not how fast")
    parser.add_argument("--json", metavar="FILE", help="write the results here")
    parser.add_argument(
        "--compare",
        metavar="FILE",
        help="print new / old against results of --json; exit code 1 if a case is slower by more than noise",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=1.05,
        metavar="X",
        help="in --compare, a case is slower only above this, however small the noise (%(default)s)",
    )
    of_speedrun = parser.add_argument_group(
        "speedrun, speedrun-parts", "with --json a record that was interrupted goes on"
    )
    of_speedrun.add_argument("--data", metavar="FOLDER", help="where CIFAR-10 is (CNNLAYERS_DATA)")
    of_speedrun.add_argument("--epochs", type=positive, metavar="E", help="of a training (8; of parts 2)")
    of_speedrun.add_argument("--seeds", type=count, metavar="N", help="trainings of ours (10; of parts 3)")
    of_speedrun.add_argument("--torch-seeds", type=count, metavar="M", help="of PyTorch's (2; with --quick 1)")
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (1 if options.quick else 10)
    return options


def positive(text: str) -> int:
    return at_least(1, text)


def count(text: str) -> int:
    return at_least(0, text)


def at_least(low: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if number < low:
        raise argparse.ArgumentTypeError(f"must be an int of at least {low}; got {text!r}")
    return number


if __name__ == "__main__":
    sys.exit(main())
