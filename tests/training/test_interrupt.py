"""Ctrl-C and SIGTERM between steps: never in the middle of one."""

import os
import signal
import threading
from collections import deque

import pytest

from cnnlayers.training.interrupt import Interruptible


def press():
    os.kill(os.getpid(), signal.SIGINT)


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(autouse=True)
def _the_handler_is_pythons_own_before_and_after():
    def as_at_the_start():
        return (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == (
            signal.default_int_handler,
            signal.SIG_DFL,
        )

    assert as_at_the_start()
    yield
    assert as_at_the_start()


def test_without_ctrl_c_nothing_happens():
    with Interruptible() as guard:
        guard.check()
        guard.check()


def test_it_waits_for_the_next_check():
    with Interruptible() as guard:
        press()
        done = True
        with pytest.raises(KeyboardInterrupt):
            guard.check()
    assert done


def test_a_second_one_is_raised_at_once():
    with Interruptible():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_but_not_within_hold():
    with Interruptible() as guard:
        guard.holding = True
        for _ in range(4):
            press()
        guard.holding = False
        with pytest.raises(KeyboardInterrupt):
            guard.check()


def test_while_a_file_is_written_the_third_one_is_raised():
    with Interruptible() as guard:
        with guard.saving():
            press()
            press()
            with pytest.raises(KeyboardInterrupt):
                press()
        assert guard.insisted


def test_saving_within_hold_can_be_left_and_holds_again():
    with Interruptible() as guard:
        guard.holding = True
        with pytest.raises(KeyboardInterrupt), guard.saving():
            deque((press() for _ in range(3)), maxlen=0)
        assert guard.holding


def test_sigterm_waits_for_the_next_check_if_asked_to():
    with Interruptible(sigterm=True) as guard:
        guard.check()
        terminate()
        assert (guard.terminated, guard.pressed, guard.insisted) == (True, 0, False)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second one ends the process
        with pytest.raises(KeyboardInterrupt):
            guard.check()


def test_sigterm_is_left_alone_unless_asked_for():
    with Interruptible():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("theirs", [signal.SIG_IGN, lambda *_: None])
def test_it_steps_aside_for_what_somebody_else_does_on_sigterm(theirs):
    signal.signal(signal.SIGTERM, theirs)
    try:
        with Interruptible(sigterm=True) as guard:
            terminate()
            guard.check()
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_the_old_handler_comes_back_after_an_error():
    def work():
        with Interruptible():
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()


def test_it_steps_aside_for_a_handler_of_somebody_else():
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        with Interruptible() as guard:
            press()
            guard.check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert pressed == [1]


def test_one_within_another_leaves_it_to_the_outer():
    with Interruptible() as outer:
        with Interruptible() as inner:
            press()
            inner.check()
        with pytest.raises(KeyboardInterrupt):
            outer.check()


def test_in_a_thread_it_sets_no_handler():
    seen = []

    def work():
        with Interruptible() as guard:
            guard.check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_what_comes_while_ranks_tell_each_other_is_not_lost():
    class Slow:
        size = 2

        def gather(self, told):
            os.kill(os.getpid(), signal.SIGTERM)
            return [told, told]

    with Interruptible(sigterm=True) as interrupt:
        interrupt.agree(Slow())
    assert interrupt.terminated
    assert not interrupt.agreed  # the others do not know
