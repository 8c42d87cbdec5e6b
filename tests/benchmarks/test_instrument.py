"""The benchmark's instrument: its arithmetic on a clock that the tests set, and what it does not let pass."""

import dataclasses
import gc
import signal
import threading
import time

import numpy as np
import pytest

from benchmarks import checks, instrument
from benchmarks.instrument import Case, DifferentWorkError, Result, measure
from ssd_common.errors import InputError


class Clock:
    """A clock that goes on only when work is done; it keeps what was done and when garbage collection was on."""

    def __init__(self):
        self.now, self.done, self.collecting = 0.0, [], []

    def __call__(self):
        return self.now

    def work(self, name, seconds):
        """Return work that takes the given seconds, one after the other, and returns its name."""
        left = iter(seconds)

        def do():
            self.now += next(left)
            self.done.append(name)
            self.collecting.append(gc.isenabled())
            return name

        return do


def fake_case(clock, ours, peer, compare=None):
    return Case("toy", "torch", clock.work("ours", ours), clock.work("peer", peer), compare)


# The instrument


def test_the_result_is_the_median_of_the_seconds_and_of_the_ratios_of_pairs():
    clock = Clock()
    case = fake_case(clock, ours=[1, 2, 4, 1, 2], peer=[3, 8, 12, 10, 4])
    result = measure(case, pairs=5, warmup=0, clock=clock)
    # The ratios are 3, 4, 3, 10 and 2: quartiles 3, 3 and 4. The ratio of the medians would be 4.
    assert result == Result("toy", "torch", ours_s=2, peer_s=8, ratio=3, spread=pytest.approx(1 / 3))


def test_equal_pairs_have_no_spread():
    clock = Clock()
    assert measure(fake_case(clock, [2] * 4, [6] * 4), pairs=3, clock=clock).spread == 0


def test_the_sides_take_turns_and_the_warm_up_is_not_timed():
    clock = Clock()
    result = measure(fake_case(clock, ours=[90, 1, 1], peer=[90, 5, 5]), pairs=2, warmup=1, clock=clock)
    assert clock.done == ["ours", "peer"] * 3
    assert (result.ours_s, result.peer_s) == (1, 5)


def test_each_side_settles_before_it_is_timed_where_the_case_says_so():
    clock = Clock()
    case = dataclasses.replace(fake_case(clock, ours=[90, 50, 1], peer=[90, 50, 5]), settle=True)
    result = measure(case, pairs=1, warmup=1, clock=clock)
    assert clock.done == ["ours", "peer", "ours", "ours", "peer", "peer"]
    assert (result.ours_s, result.peer_s) == (1, 5)


def test_the_peer_may_have_a_thread_of_its_own_that_is_made_ready_first():
    threads = {"ready": [], "ours": [], "peer": []}

    def note(name):
        return lambda: threads[name].append(threading.get_ident())

    measure(Case("toy", "torch", note("ours"), note("peer"), peer_thread=note("ready")), pairs=2)
    assert set(threads["ours"]) == {threading.get_ident()}
    assert threads["ready"] == threads["peer"]
    assert threading.get_ident() not in threads["peer"]
    assert len(threads["peer"]) == 3


def test_a_peer_that_fails_in_its_thread_fails_the_measurement():
    def fail():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        measure(Case("toy", "torch", int, fail, peer_thread=int), pairs=1)


def test_interrupting_does_not_wait_for_the_peer_in_its_thread():
    main, enough, peers = threading.main_thread().ident, threading.Event(), []

    def endless():
        peers.append(threading.current_thread())
        time.sleep(0.2)  # both threads are under way
        signal.pthread_kill(main, signal.SIGINT)  # what Ctrl-C sends
        enough.wait()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores the signal
    try:
        with pytest.raises(KeyboardInterrupt):
            measure(Case("toy", "torch", int, endless, peer_thread=int), pairs=1)
        assert peers[0].is_alive()
        assert peers[0].daemon  # the process does not wait for it either
    finally:
        enough.set()
        signal.signal(signal.SIGINT, before)
    peers[0].join()


def test_garbage_is_collected_between_the_timed_runs_only():
    clock = Clock()
    measure(fake_case(clock, [1] * 3, [1] * 3), pairs=2, clock=clock)
    assert clock.collecting == [True, True, False, False, False, False]
    assert gc.isenabled()


def test_garbage_collection_is_as_before_when_the_work_fails():
    def fail():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        measure(Case("toy", "torch", fail, fail), warmup=0)
    assert gc.isenabled()
    gc.disable()
    try:
        measure(fake_case(clock := Clock(), [1], [1]), pairs=1, warmup=0, clock=clock)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_first_results_are_compared_once():
    clock, compared = Clock(), []
    case = fake_case(clock, [1] * 5, [1] * 5, lambda ours, peer: compared.append((ours, peer, len(clock.done))))
    measure(case, pairs=3, warmup=2, clock=clock)
    assert compared == [("ours", "peer", 2)]


def test_two_different_computations_have_no_times():
    clock = Clock()
    case = fake_case(clock, [1] * 2, [1] * 2, np.testing.assert_equal)
    with pytest.raises(DifferentWorkError, match="^toy, torch: the two sides differ: .*ours.*peer") as raised:
        measure(case, pairs=1, clock=clock)
    assert "\n" not in str(raised.value)
    assert clock.done == ["ours", "peer"]


@pytest.mark.parametrize(("options", "message"), [({"pairs": 0}, "pairs"), ({"warmup": 0}, "warm-up")])
def test_a_measurement_needs_a_pair_and_a_comparison(options, message):
    clock = Clock()
    with pytest.raises(InputError, match=message):
        measure(fake_case(clock, [1], [1], np.testing.assert_equal), clock=clock, **options)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(123.4, "123 s"), (3.312, "3.31 s"), (0.9996, "1000 ms"), (0.0284, "28.4 ms"), (2e-6, "2 µs")],
)
def test_seconds_are_written_with_their_unit(seconds, text):
    assert instrument.format_seconds(seconds) == text


# What two sides must have in common


def weights_after(start, change):
    return {name: value + np.float32(change) for name, value in start.items()}


@pytest.mark.parametrize(
    ("numbers", "change", "message"),
    [
        ((50, 100, 8.0, 400), 0.5, None),
        ((50, 101, 8.0, 400), 0.5, "another number of anchors"),
        ((60, 100, 8.0, 400), 0.5, "correct anchors"),
        ((50, 100, 9.0, 400), 0.5, "offset error"),
        ((50, 100, 8.0, 400), 0.51, "the weights after the step differ by 2.0e-02"),
    ],
)
def test_a_step_that_differs_is_found(numbers, change, message):
    start = {"a.weight": np.zeros((2, 3), np.float32), "a.running_mean": np.zeros(2, np.float32)}
    peer = (50, 100, 8.0, 400), weights_after(start, 0.5)
    arguments = (numbers, weights_after(start, change)), peer, start, 1e-2
    if message is None:
        checks.same_step(*arguments)
    else:
        with pytest.raises(AssertionError, match=message):
            checks.same_step(*arguments)


@pytest.mark.parametrize(("which", "message"), [(0, "offsets"), (1, "masks"), (2, "class labels")])
def test_targets_that_differ_are_found(which, message):
    peer = [np.zeros((2, 8)), np.zeros((2, 8)), np.zeros((2, 2), int)]
    ours = [array.copy() for array in peer]
    checks.same_targets(ours, peer)
    ours[which][1, 1] += 1
    with pytest.raises(AssertionError, match=message):
        checks.same_targets(ours, peer)


ROWS = np.array([[[0, 0.9, 0.1, 0.1, 0.5, 0.5], [1, 0.8, 0.2, 0.2, 0.6, 0.6], [-1, 0.7, 0, 0, 1, 1]]])


def test_detections_that_differ_are_found_and_background_is_left_out():
    background = ROWS.copy()
    background[0, 2, 1:] = 0.3
    checks.same_detections([background], [ROWS])
    for column, message in ((0, "classes"), (1, "scores or boxes"), (4, "scores or boxes")):
        other = ROWS.copy()
        other[0, 1, column] += 1
        with pytest.raises(AssertionError, match=message):
            checks.same_detections([other], [ROWS])
    with pytest.raises(AssertionError, match="classes"):
        checks.same_detections([ROWS[:, 1:]], [ROWS])


def test_predictions_need_not_be_in_order_but_must_be_there():
    rows = ROWS[0, :2]
    checks.same_predictions([rows[::-1], rows[:1]], [rows, rows], exact=[0])
    for ours, peer in ((rows[:1], rows), (rows, rows[:1]), (rows + 0.01, rows)):
        with pytest.raises(AssertionError, match="detections are the book's"):
            checks.same_predictions([ours], [peer], exact=[0])
    with pytest.raises(AssertionError, match="nothing is detected"):
        checks.same_predictions([rows[:0]], [rows[:0]], exact=[0])
    with pytest.raises(AssertionError, match="1 images, not 2"):
        checks.same_predictions([rows], [rows, rows], exact=[0])


def test_an_epoch_that_does_not_learn_is_found():
    checks.same_epoch((0.02, 0.004), (0.03, 0.005))
    for ours in ((0.07, 0.005), (0.03, 0.0001), (float("nan"), 0.005)):
        with pytest.raises(AssertionError, match="errors of the epoch"):
            checks.same_epoch(ours, (0.03, 0.005))
