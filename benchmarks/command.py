"""A run from the options to the last line printed."""

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from cnnlayers.writing import check_writable

from . import compare, environment, peak, report, suites, table
from .cases import Case, select
from .runner import Result, run_case

SETTINGS = ("suites", "cases", "repeats", "seconds", "threads", "quick", "compile")


def run(options: argparse.Namespace) -> None:
    """Run the chosen cases, print their tables, write and compare as asked."""
    cases = select(suites.cases(options.suites), options.cases)
    if not options.compile:
        cases = [case.without("torch:compile") for case in cases]
    if not cases:
        raise ValueError(f"no case matches {options.cases!r}; --list prints their names")
    if options.list:
        print("\n".join(case.full_name for case in cases))
        return
    settings = {name: getattr(options, name) for name in SETTINGS}
    if options.json and not Path(options.json).parent.is_dir():
        raise ValueError(f"no folder {Path(options.json).parent} to write {options.json} in")
    if options.json:
        check_writable(options.json)
    old = report.load(options.compare) if options.compare else None
    if old:
        compare.check_settings(settings, old)
        compare.check_names([case.full_name for case in cases], old)
    environment.set_threads(options.threads)
    where = environment.describe()
    machine = peak.Machine(options.threads, options.quick) if any(c.suite in table.WITH_SPEED for c in cases) else None
    where["limits"] = machine and machine.limits
    print("\n".join([*preamble(where, settings), *left_out(cases), *crowded(cases, where["CPUs"])]), flush=True)
    new = report.Report(where, settings, list(run_tables(cases, options, machine)))
    if options.json:
        report.save(new, options.json)
        print(f"\nwritten to {options.json}")
    if old:
        print("\n" + "\n".join(compare.compare(new, old, options.threshold)))
        compare.check(new, old, options.threshold)


def run_tables(cases: list[Case], options: argparse.Namespace, machine: peak.Machine | None) -> Iterator[Result]:
    """Run the cases, suite after suite, printing each result as it comes."""
    for suite, group in groupby(cases, key=lambda case: case.suite):
        members = list(group)
        names = [case.name for case in members]
        printed = table.make(suite, names, sides_of(members), members[0].reference, machine and machine.limits)
        print("\n" + printed.header(), flush=True)
        results = []
        for case in members:
            if machine and suite in table.WITH_SPEED:
                machine.measure()
            results.append(run_case(case, options.repeats, options.quick, options.seconds))
            print(printed.line(results[-1]), flush=True)
        environment.set_threads(options.threads)
        last = limit_lines(machine and machine.limits, options.threads) if suite in table.WITH_SPEED else []
        for line in [*printed.footer(results), *last]:
            print(line, flush=True)
        yield from results


def sides_of(cases: list[Case]) -> list[str]:
    """Give the sides of any of the cases whose libraries are installed."""
    return [
        name for name in table.in_order(case.sides for case in cases) if not environment.missing(table.family(name))
    ]


def left_out(cases: list[Case]) -> list[str]:
    """Say for each library that would take part, if it were installed, how to install it."""
    families = dict.fromkeys(table.family(side) for case in cases for side in case.sides)
    lines = [
        f"{environment.LIBRARIES[name].title} was not found and takes no part: no package {' and no '.join(absent)}; "
        f"to compare with it: {environment.LIBRARIES[name].install}"
        for name in families
        if (absent := environment.missing(name))
    ]
    if any(case.processes for case in cases) and (absent := environment.missing("mpi")):
        lines.append(
            f"{environment.MPI.title} was not found and no ranks take part: no {' and no '.join(absent)}; "
            f"to measure them: {environment.MPI.install}"
        )
    return lines


def crowded(cases: list[Case], cpus: int) -> list[str]:
    """Say which cases have more threads than there are CPUs."""
    many = sorted({case.processes for case in cases if case.processes > cpus})
    return [
        f"note: {count} ranks on {cpus} CPUs take turns: these cases show that they work, not how fast they are"
        for count in many
    ]


def preamble(where: dict, settings: dict) -> list[str]:
    """Say on what and how it is measured."""
    threads = settings["threads"]
    lines = [
        *machine_lines(where),
        f"threads: {threads} on every side but the loops (NumPy's BLAS: {where['BLAS threads']}); "
        f"{settings['repeats']} interleaved turns each, fewer after {settings['seconds']} s",
        *limit_lines(where["limits"], threads),
        table.LEGEND,
    ]
    if where["load"] is not None and where["load"] > 0.5:
        lines.append("note: something else is running on this machine; figures will be noisy")
    if settings["quick"]:
        lines.append("note: --quick runs tiny problems; the figures mean nothing")
    return lines


def machine_lines(where: dict) -> list[str]:
    """The machine and the versions."""
    return [
        f"{where['processor']}, {where['CPUs']} CPUs, {where['machine']}; load {where['load']}",
        f"cnnlayers {where['cnnlayers']} ({where['kernels']}, {where['compiler']}, OpenMP: {where['OpenMP']}), "
        f"Python {where['Python']}, NumPy {where['NumPy']} ({where['BLAS']})",
        ", ".join(
            [
                *(f"{one.title} {where.get(one.title) or 'not found'}" for one in environment.LIBRARIES.values()),
                *([where["MPI"]] if where.get("MPI") else []),
            ]
        ),
    ]


def limit_lines(limits: dict | None, threads: int) -> list[str]:
    if limits is None:
        return []
    return [
        f"this machine at most, {threads} threads: {limits['float32']:.0f} GFLOP/s in float32, "
        f"{limits['float64']:.0f} in float64 (fused multiply-adds in registers), {limits['memory']:.0f} GB/s of memory"
    ]
