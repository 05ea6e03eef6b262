"""Benchmarks: cnnlayers beside plain loops, plain NumPy, PyTorch and runtimes of ONNX files, in one run.

    python -m benchmarks                        every suite, as tables
    python -m benchmarks conv --cases dW        a part of one
    python -m benchmarks --json new.json --compare old.json

A suite (`suites/`) is a list of named cases. A case is one thing to compute, on one input; its sides are the ways to
compute it. A side is a class: it takes the problem, prepares its own copy of it, and has a method for each operation.
So a new side is one class, a new row one line, a new suite one file.

    cases.py         what a case is, what a side is, and how sides are prepared
    runner.py        check that the sides agree, then take turns and time them
    table.py         what is printed;  compare.py: against an older run;  report.py: the JSON file
    command.py       a run, from the options to the last line
    environment.py   threads, versions, machine;  peak.py, peak.c: the machine's limits
    nets.py          the nets of step, infer, threads, memory, ranks and winograd
    worker.py        a process of the suite ranks;  scaling.py: what more ranks would do, a model
    sides/           loops, NumPy, cnnlayers, PyTorch, runtimes of ONNX files; processes that are measured from outside
    suites/          conv: each pass of a convolution;  step: whole training steps;  infer: prediction
                     memory: peak memory of training;  threads: one and two;  ranks: on several
                     processes, with MPI;  import: its time, and sizes on disk
                     layer: whole layers, and one in plain NumPy;  columns: im2col and col2im
                     choice: is the algorithm that cnnlayers chooses the fastest?  rounding: how exact is each?
                     winograd: training steps with it and without
    accuracy.py, speedrun.py, speedrun_parts.py     suites of their own: whole trainings
    speedrun_page.py  tables from the record of the last two

After a run with --json:

    python -m benchmarks.compare run.json older.json                has anything become slower, by more than noise?
    python -m benchmarks.markdown run.json docs/performance.md      its tables into the marked places of a page
    python -m benchmarks.pictures run.json docs                     the pictures of the pages
"""
