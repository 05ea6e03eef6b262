"""The command `cnnlayers`: its commands and their options, and how it ends."""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .. import threads
from .._version import __version__
from ..errors import CheckpointError, DataError, NonFiniteError
from ..files.onnx.export import LAYOUTS
from ..look.info import show_config
from ..terminal import settle
from . import config_file, nets, train
from .factories import MODELS
from .options import (
    DATA_HELP,
    THREADS_HELP,
    DefaultsShown,
    add_image_options,
    add_train_options,
    add_views_option,
    number,
    positive,
    whole,
)
from .stderr import saying_warnings
from .together import ElsewhereError, Together, as_started

FAILURES = (CheckpointError, DataError, NonFiniteError, OSError, ValueError, ImportError, MemoryError)
NET_HELP = "a net that `train` or net.save() wrote, the folder of a run, or an ONNX file"

BENCH_HELP = """\
suites, all but accuracy if none is named:
  conv              each pass of a convolution
  layer             a convolutional layer in training
  step              whole training steps of several nets
  infer             inference with them
  memory            peak memory of a training
  threads           a training step on one thread and on two
  ranks             training on one, two and four processes, with MPI
  import            time of the import, size on disk
  columns           im2col and col2im, beside plain loops
  choice            every algorithm of a convolution, and which one is chosen
  rounding          errors of the algorithms against float64
  winograd          training steps with Winograd's method and without it
  accuracy          whole trainings on MNIST and CIFAR-10, a quarter of an hour; CNNLAYERS_DATA
                    in the environment names the folder of mnist and cifar-10-batches-bin
  speedrun          the recipe of examples/cifar10_speedrun.py, and the same in PyTorch: hours
  speedrun-parts    that recipe without each of its parts in turn: hours

options, which go to python -m benchmarks:
  --cases PATTERN   only cases whose name holds this (* and ? work)
  --list            print the names of the cases and stop
  --quick           tiny problems: to see that all works, not how fast
  --repeats N       turns of each side (default: 10; with --quick 1)
  --seconds S       begin no more turns of a case after so long (default: 2)
  --threads N       threads of every side (default: all processors that this process may use)
  --compile         let torch.compile take part, which takes minutes more
  --json FILE       write the results here
  --compare FILE    print new / old against results of --json; exit code 1 if ours is slower
  --threshold X     slower only above this, however small the noise (default: 1.05)

options of speedrun and speedrun-parts:
  --data FOLDER     where CIFAR-10 is (default: the folder that CNNLAYERS_DATA names)
  --epochs E        of each training (default: 8; of parts 2)
  --seeds N         trainings of ours (default: 10; of parts 3)
  --torch-seeds M   trainings of PyTorch's (default: 2)

It needs a checkout of the repository, since the benchmarks are no part of the installed package.
Beside PyTorch, and in infer ONNX Runtime, OpenVINO and ncnn, it runs where they are installed:
pip install -e ".[bench]" brings them and threadpoolctl. For figures worth quoting the machine
must have nothing else to do.

example: cnnlayers bench step --cases resnet8 --quick
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code: 0 done, 1 failed, 2 called wrongly, 130 after Ctrl-C, 143 after SIGTERM.

    A training or a report is done when its files are written, whether what it says is heard or not; of the other
    commands, what they print is what they do, so they fail where it cannot be printed.

    Of the processes that mpiexec starts, all take part in a training, and the first alone does the other commands:
    where the others have nothing to do, they end with 0, since an MPI may end all when one fails.
    """
    parser = _parser()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name is no reason to fail
    together = Together()
    try:
        with together.silent():
            options = _parsed(parser, sys.argv[1:] if arguments is None else list(arguments))
        if hasattr(options, "together"):
            options.together = together = as_started()
        elif not together.is_first:
            return 0
        if getattr(options, "threads", None) is not None:
            threads.set_num_threads(options.threads)
        with together.silent(), saying_warnings():
            code = options.run(options)
        if not getattr(options, "unheard", False) and sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:  # where no training could save anything: a second Ctrl-C, or outside train()
        return together.end(130)
    except ElsewhereError as error:
        return together.end(error.code, error)
    except BrokenPipeError:  # `cnnlayers ... | head`: nobody reads on
        return together.end(1)
    except FAILURES as error:
        return together.end(1, error)
    except SystemExit:  # called wrongly, which the first rank says
        if together.is_first:
            raise
        return 0
    finally:
        settle(sys.stdout)
        settle(sys.stderr)


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse the arguments; options of a file apply where the command line does not give them."""
    options, rest = parser.parse_known_args(arguments)
    if options.run is _bench:
        options.arguments = rest
        return options
    try:
        if getattr(options, "config", None) is not None:
            options.sub.set_defaults(**config_file.read(options.config, options.train_options))
            options, rest = parser.parse_known_args(arguments)
        if rest:
            raise ValueError(f"unrecognized arguments: {' '.join(rest)}")
        if hasattr(options, "check"):
            options.check(options)
    except ValueError as error:
        options.sub.error(str(error))
    return options


def _bench(options: argparse.Namespace) -> int:
    """Run the benchmarks, which are not part of the installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise FileNotFoundError(f"bench works from a checkout of the repository; there are no benchmarks in {root}")
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "benchmarks", *options.arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False).returncode


def _info(options: argparse.Namespace) -> int:
    """What this installation is made of."""
    show_config()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cnnlayers", description="Train small convolutional networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"cnnlayers {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", formatter_class=DefaultsShown
        )
        sub.set_defaults(run=run, sub=sub)
        return sub

    sub = command("train", lambda o: train.train(o, list(train_options)), "train a net, test it and save the run")
    train_options = add_train_options(sub)
    sub.set_defaults(train_options=train_options, check=train.check, unheard=True, together=None)

    sub = command("resume", lambda o: train.resume(o, train_options), "go on with a run that was interrupted")
    sub.set_defaults(unheard=True, together=None)
    sub.add_argument("run_folder", metavar="RUN", help="its folder")
    sub.add_argument(
        "--epochs",
        type=positive,
        metavar="N",
        help="train N more epochs than are done (default: those left); the schedule of the learning rate begins anew "
        "over these N, so the rate rises to its highest again, without a second warm-up",
    )
    sub.add_argument("--lr", type=number, metavar="X", help="another learning rate from here on (default: the run's)")
    sub.add_argument("--threads", type=positive, metavar="N", help=THREADS_HELP)

    sub = command("evaluate", lambda o: nets.evaluate(o, train_options), "loss and accuracy of a net on a data set")
    sub.add_argument("file", metavar="FILE", help=NET_HELP)
    sub.add_argument("data", nargs="?", metavar="DATA", help=f"{DATA_HELP} (default: those of the run, or digits)")
    sub.add_argument("--part", choices=("train", "val", "test"), help="which part (default: test, if there is one)")
    add_views_option(sub)
    sub.add_argument("--threads", type=positive, metavar="N", help=THREADS_HELP)

    sub = command(
        "predict", lambda o: nets.predict(o, train_options), "the class of each image, and the net's probability of it"
    )
    sub.add_argument("file", metavar="FILE", help=NET_HELP)
    sub.add_argument(
        "images", nargs="+", metavar="IMAGE", help="scaled and cut to the size that the net takes; the bad are skipped"
    )
    add_image_options(sub)
    sub.add_argument(
        "--top",
        type=positive,
        metavar="N",
        help="print the N likeliest classes (default: 1; of a net that ends in Sigmoid, all, each with its own "
        "probability)",
    )
    add_views_option(sub)
    sub.add_argument("--threads", type=positive, metavar="N", help=THREADS_HELP)

    sub = command(
        "explain",
        lambda o: nets.explain(o, train_options),
        "write a page on which every number of a net on one image can be picked, forward and backward; without a net, "
        "a tour of the course sheet on tiny ones",
    )
    sub.set_defaults(unheard=True, check=nets.check_explain)
    sub.add_argument("file", nargs="?", metavar="RUN", help=NET_HELP)
    sub.add_argument("image", nargs="?", metavar="IMAGE", help="an image file (default: a sample of the run's data)")
    sub.add_argument("--sample", type=whole, default=0, metavar="N", help="which sample of the part held out")
    sub.add_argument(
        "--label", metavar="NAME", help="the class that the loss asks for (default: the sample's, or the net's answer)"
    )
    sub.add_argument("--train", action="store_true", help="as in a step of training, not as the net predicts")
    add_image_options(sub)
    sub.add_argument("--out", metavar="FILE", help="the page (default: explain.html beside the net)")
    sub.add_argument("--threads", type=positive, metavar="N", help=THREADS_HELP)

    sub = command("export", nets.export, "write a net as an ONNX file, for ONNX Runtime and others")
    sub.set_defaults(check=nets.check_export)
    sub.add_argument("file", metavar="RUN", help=NET_HELP)
    sub.add_argument("onnx_file", metavar="FILE.onnx", help="it is written when ONNX's evaluator agrees with the net")
    sub.add_argument(
        "--layout", choices=LAYOUTS, default="NHWC", help="of its images: channels last, as here, or first"
    )
    sub.add_argument("--opset", type=positive, default=17, metavar="N", help="the version of ONNX's operators")

    sub = command(
        "report", lambda o: nets.report(o, train_options), "write report.html: what a run reached and learned"
    )
    sub.set_defaults(unheard=True)
    sub.add_argument("run_folder", metavar="RUN", help="its folder, or the net in it")

    sub = command("summary", nets.summary, "the layers of a net")
    sub.add_argument("file", metavar="FILE", help=f"{NET_HELP}, or one of {', '.join(MODELS)}")

    sub = command("gradcheck", nets.gradcheck, "compare the gradients of a net with numeric ones")
    sub.add_argument("file", metavar="FILE", help=f"{NET_HELP}, or one of {', '.join(MODELS)}")
    sub.add_argument("--samples", type=positive, default=20, metavar="N", help="numbers of each array")
    sub.add_argument("--batch-size", type=positive, default=2, metavar="N", help="random inputs")
    sub.add_argument("--seed", type=whole, default=0, metavar="N", help="of what is random")

    sub = command("bench", _bench, "run the benchmarks, from a checkout of the repository")
    sub.usage = "cnnlayers bench [-h] [suite ...] [option ...]"
    sub.formatter_class = argparse.RawDescriptionHelpFormatter
    sub.epilog = BENCH_HELP

    command("info", _info, "versions, compiler, kernels, threads and MPI of this installation")
    return parser
