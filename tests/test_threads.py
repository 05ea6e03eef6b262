import os
import subprocess
import sys

import numpy as np
import pytest

from cnnlayers import threads
from cnnlayers.cpus import usable_cpus


def run(script, **environment):
    """Run `script` in a fresh interpreter whose environment says nothing of threads but `environment`."""
    clean = {k: v for k, v in os.environ.items() if k not in ("CNNLAYERS_NUM_THREADS", "OMP_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=clean | environment,
        cwd=os.getcwd(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def initial(**environment):
    result = run("from cnnlayers import threads; print(threads.get_num_threads())", **environment)
    assert result.returncode == 0, result.stderr
    return int(result.stdout), result.stderr


def test_a_system_without_forks_and_sets_of_processors():
    """Such as Windows: what is not there is not missed."""
    script = """if True:
        import mmap, os
        for name in ("fork", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "getuid"):
            delattr(os, name)
        del mmap.MADV_DONTNEED
        import numpy as np
        import cnnlayers as cl
        assert cl.get_num_threads() == cl.threads.usable_cpus() >= 1
        cl.set_num_threads(2)
        net = cl.models.digits_cnn(rng=0)
        data = cl.datasets.digits()
        solver = cl.Solver(net, data.train, loss=cl.SoftmaxLoss(), optimizer=cl.SGD(lr=0.05), epochs=1, progress=False)
        solver.train()
    """
    result = run(script)
    assert (result.returncode, result.stderr) == (0, "")


def test_what_is_set_is_what_is_got():
    for n in (1, 2, 7, np.int64(3), np.uint8(5), threads.MAX_THREADS):
        threads.set_num_threads(n)
        assert threads.get_num_threads() == n
        assert type(threads.get_num_threads()) is int


@pytest.mark.parametrize("n", [True, False, np.True_, 2.0, "2", None, [2]])
def test_refuses_what_is_not_an_int(n):
    before = threads.get_num_threads()
    with pytest.raises(TypeError, match=r"set_num_threads needs an int from 1 to 1024; got "):
        threads.set_num_threads(n)
    assert threads.get_num_threads() == before


@pytest.mark.parametrize("n", [0, -1, 1025, 2**31, 2**63, -(2**64)])
def test_refuses_numbers_out_of_range(n):
    before = threads.get_num_threads()
    with pytest.raises(ValueError, match=rf"set_num_threads needs an int from 1 to 1024; got {n}"):
        threads.set_num_threads(n)
    assert threads.get_num_threads() == before


def test_without_a_word_it_uses_the_cpus_of_this_process():
    assert initial() == (usable_cpus(), "")


def test_the_own_variable_comes_before_omp_num_threads():
    assert initial(CNNLAYERS_NUM_THREADS="3", OMP_NUM_THREADS="5") == (3, "")
    assert initial(OMP_NUM_THREADS="5") == (5, "")
    assert initial(CNNLAYERS_NUM_THREADS="", OMP_NUM_THREADS="5") == (5, "")


def test_omp_num_threads_may_be_a_list():
    assert initial(OMP_NUM_THREADS="4,2") == (4, "")
    assert initial(OMP_NUM_THREADS=" 6 , 2") == (6, "")


@pytest.mark.parametrize("text", ["four", "0", "-2", "2.5", "4,2", "1e3", "99999999999999999999", "1025", "٣"])
def test_a_bad_own_variable_is_named_and_passed_over(text):
    n, said = initial(CNNLAYERS_NUM_THREADS=text, OMP_NUM_THREADS="5")
    assert n == 5
    assert "RuntimeWarning" in said
    assert "CNNLAYERS_NUM_THREADS=" in said
    assert "is not a number of threads from 1 to 1024; using 5" in said


def test_a_bad_omp_num_threads_is_named_and_passed_over():
    n, said = initial(OMP_NUM_THREADS="many,2")
    assert n == usable_cpus()
    assert f"OMP_NUM_THREADS='many,2' is not a number of threads from 1 to 1024; using {n}" in said


def test_a_forked_child_stays_on_one_thread():
    script = """
import os
from cnnlayers import threads

threads.set_num_threads(4)
child = os.fork()
if child == 0:
    assert threads.get_num_threads() == 1
    threads.set_num_threads(1)
    try:
        threads.set_num_threads(2)
    except RuntimeError as error:
        print(error, flush=True)
    assert threads.get_num_threads() == 1
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert threads.get_num_threads() == 4
threads.set_num_threads(2)
"""
    result = run(script)
    assert result.returncode == 0, result.stderr
    assert "set_num_threads(2): this process was made by fork and must stay on one thread" in result.stdout
