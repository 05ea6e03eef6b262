"""Ctrl-C between steps: never in the middle of one."""

import os
import signal
import threading

import pytest

from cnnlayers.training.interrupt import Interruptible


def press():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def _the_handler_is_pythons_own_before_and_after():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_ctrl_c_nothing_happens():
    with Interruptible() as interrupt:
        interrupt.check()
        interrupt.check()


def test_it_waits_for_the_next_check():
    with Interruptible() as interrupt:
        press()
        done = True
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()
    assert done


def test_a_second_one_is_raised_at_once():
    with Interruptible():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()


def test_but_not_within_hold():
    with Interruptible() as interrupt:
        interrupt.holding = True
        for _ in range(4):
            press()
        interrupt.holding = False
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()


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
        with Interruptible() as interrupt:
            press()
            interrupt.check()
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
        with Interruptible() as interrupt:
            interrupt.check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
