"""Benchmarks: cnnlayers beside plain loops, plain NumPy and PyTorch, in one run.

    python -m benchmarks                        every suite, as tables
    python -m benchmarks conv --cases dW        a part of one
    python -m benchmarks --json new.json --compare old.json

A suite (`suites/`) is a list of named cases and a class that asv can run as it is. A case is one thing to compute, on
one input; its sides are the ways to compute it. A side is a class: it takes the problem, prepares its own copy of it,
and has a method for each operation. So a new side is one class, a new row one line, a new suite one file.

    cases.py         what a case is, what a side is, and how sides are prepared
    runner.py        check that the sides agree, then take turns and time them
    table.py         what is printed;  compare.py: against an older run;  report.py: the JSON file
    command.py       a run, from the options to the last line
    environment.py   threads, versions, machine
    sides/           loops, NumPy, cnnlayers, PyTorch
    suites/          conv: im2col, col2im and each pass of a convolution;  step: whole training steps
"""
