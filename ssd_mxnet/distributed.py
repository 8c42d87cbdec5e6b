"""Several processes that work together: the framework adds up their arrays."""

import atexit
import os
import sys

import numpy
from mxnet import kvstore

from ssd_common.group import Group

from .data import to_device, to_numpy
from .weights import get_gradients, set_gradients


def join(device=None):
    """Return the `Group` of this process, when all the others have come; the launcher's environment says who they are.

    The server adds in float32, whatever it is sent. A float64 array goes as pieces of 16 bits, which float32 holds
    exactly, in a place of its own for each process: the sum over the processes is taken here.

    Args:
        device: as returned by `get_device`; the servers are reached from the CPU.
    """
    store = kvstore.create("dist_sync")
    known = set()

    def sum_float32(array):
        sent = to_device(array).as_nd_ndarray()
        if array.size not in known:
            known.add(array.size)
            store.init(str(array.size), sent)
        store.push(str(array.size), sent)  # waits, in the server, for all the workers
        received = to_device(numpy.empty_like(array))
        store.pull(str(array.size), out=received.as_nd_ndarray())
        return to_numpy(received)

    def sum_array(array):
        if array.dtype == numpy.float32:
            return sum_float32(array)
        places = numpy.zeros((store.num_workers, 4 * array.size), numpy.float32)
        places[store.rank] = array.view(numpy.uint16)
        pieces = sum_float32(places.ravel()).astype(numpy.uint16)
        return pieces.view(numpy.float64).reshape(store.num_workers, -1).sum(axis=0)

    group = Group(store.rank, store.num_workers, sum_array, get_gradients, set_gradients)
    atexit.register(_abandon)
    return group


def leave(group):
    """End the connection to the other processes, when all of them are done.

    Args:
        group: as returned by `join`.
    """
    atexit.unregister(_abandon)


def _abandon():
    """Leave the other processes at once, after a failure: the engine's own end would wait for them, or abort."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)
