"""Prefetching: the same items in the same order, made ahead of time, by a thread that never stays behind."""

import threading

import pytest

from ssd_common.data.prefetch import AHEAD, Prefetched
from ssd_common.errors import InputError
from ssd_common.metrics import EpochMeter

PATIENCE = 60  # seconds after which a test that waits for the thread fails


def running():
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_stays_behind():
    assert not running()
    yield
    assert not running()


@pytest.mark.parametrize("count", [0, 1, AHEAD, 100])
def test_the_items_come_in_their_order(count):
    items = Prefetched((n**2 for n in range(count)), count)
    assert len(items) == count
    assert list(items) == [n**2 for n in range(count)]


def test_the_next_item_is_made_while_the_first_is_worked_on():
    second_made = threading.Event()

    def make():
        yield 1
        second_made.set()
        yield 2

    for item in Prefetched(make(), 2):
        assert second_made.wait(PATIENCE)
        if item == 1:
            assert running()


def test_only_so_many_items_are_made_ahead():
    made = []

    def make():
        for n in range(50):
            made.append(n)
            yield n

    for item in Prefetched(make(), 50):
        assert len(made) <= item + 1 + AHEAD + 1  # this one, those that wait, the one that waits for room


def test_nothing_is_made_before_it_is_asked_for():
    made = []
    Prefetched(map(made.append, range(3)), 3)
    assert made == []


def test_an_error_comes_where_the_item_would_have_come():
    def make():
        yield 1
        yield 2
        raise InputError("images: record 3: damaged")

    items = iter(Prefetched(make(), 3))
    assert (next(items), next(items)) == (1, 2)
    with pytest.raises(InputError, match="^images: record 3: damaged$"):
        next(items)


@pytest.mark.parametrize("stopped_after", [1, AHEAD, 30])
def test_the_thread_ends_when_the_consumer_stops_early(stopped_after):
    for item in Prefetched(iter(range(1000)), 1000):
        if item == stopped_after:
            break
    assert not running()


def test_the_thread_ends_when_the_consumer_is_interrupted():
    def loop():
        for _ in EpochMeter().time_data(Prefetched(iter(range(1000)), 1000)):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert not running()
