"""`.params` files are MXNet's, byte for byte, and a damaged one is refused in one line before it takes memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tracemalloc

import numpy as np
import pytest

from ssd_common.checkpoints.params_file import read_params, read_params_list, write_params
from ssd_common.checkpoints.params_list import TYPES
from ssd_common.errors import InputError

# mx.nd.array looks for scipy's sparse arrays at their old place.
pytestmark = pytest.mark.filterwarnings("ignore:Please use `csr_matrix`:DeprecationWarning")

V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA


def pack_list(arrays, names):
    """Return the bytes of a list from those of its arrays."""
    encoded = [name.encode() if isinstance(name, str) else name for name in names]
    return b"".join(
        [struct.pack("<QQQ", 0x112, 0, len(arrays)), *arrays, struct.pack("<Q", len(encoded))]
        + [struct.pack("<Q", len(name)) + name for name in encoded]
    )


def pack_array(version, shape, values, number=0, storage=0, device=(1, 0), ndim=None):
    """Return the bytes of an array; `version` None is the oldest form."""
    ndim = len(shape) if ndim is None else ndim
    head = struct.pack("<I", ndim) if version is None else struct.pack("<I", version)
    if version in (V2, V3):
        head += struct.pack("<i", storage)
    if version is not None:
        head += struct.pack("<i", ndim)
    head += struct.pack(f"<{len(shape)}{'I' if version is None else 'q'}", *shape)
    return head + struct.pack("<iii", *device, number) + values


def sealed(content):
    """Return the bytes of a file with the sha256 behind it."""
    return content + b"tinyssd1" + hashlib.sha256(content).digest()


def pack(array, version):
    numbers = {np.dtype(name): number for number, name in TYPES.items()}
    return pack_array(version, array.shape, array.tobytes(), numbers[array.dtype])


def examples():
    """Return an array of every type, of one to five dimensions."""
    rng = np.random.default_rng(0)
    shapes = [(3,), (1, 4), (2, 3, 2), (1, 1, 1, 1), (2, 1, 2, 1, 3), (5, 1), (7,), (2, 2)]
    return {
        f"blk_{i}.{name}": (rng.normal(size=shape) * 50).astype(name)
        for i, (name, shape) in enumerate(zip(TYPES.values(), shapes, strict=True))
    }


def assert_same_arrays(actual, expected):
    assert list(actual) == list(expected)
    for name, value in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (value.dtype, value.shape), name
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


@contextlib.contextmanager
def classic_mxnet():
    """Without numpy semantics, which `import ssd_mxnet` turns on: MXNet then writes version 2 and reads 1 and 2."""
    import mxnet as mx

    with mx.util.np_array(False), mx.util.np_shape(False):
        yield mx


def load_with_mxnet(path):
    with classic_mxnet() as mx:
        return {name: array.asnumpy() for name, array in mx.nd.load(str(path)).items()}


# What MXNet writes.


@pytest.mark.backend("mxnet")
def test_arrays_that_mxnet_saved_are_read(tmp_path):
    expected = examples()
    with classic_mxnet() as mx:
        mx.nd.save(str(tmp_path / "w"), {name: mx.nd.array(v, dtype=v.dtype) for name, v in expected.items()})
    assert_same_arrays(read_params(tmp_path / "w"), expected)


@pytest.mark.backend("mxnet")
def test_arrays_that_mxnet_saved_with_numpy_semantics_are_read_scalars_and_empty_ones_as_well(tmp_path):
    import mxnet as mx

    expected = examples()
    expected |= {"number": np.array(2.5), "empty": np.zeros((0, 3), np.float32), "last": np.zeros((2, 0), np.int8)}
    with mx.util.np_shape(True), mx.util.np_array(True):
        mx.npx.save(str(tmp_path / "w"), {name: mx.np.array(v, dtype=v.dtype) for name, v in expected.items()})
    assert struct.unpack("<I", (tmp_path / "w").read_bytes()[24:28]) == (V3,)
    assert_same_arrays(read_params(tmp_path / "w"), expected)


@pytest.mark.backend("mxnet")
def test_a_list_without_names_is_numbered(tmp_path):
    with classic_mxnet() as mx:
        mx.nd.save(str(tmp_path / "w"), [mx.nd.array([1, 2]), mx.nd.array([[3]])])
    expected = {"0": np.array([1, 2], np.float32), "1": np.array([[3]], np.float32)}
    assert_same_arrays(read_params(tmp_path / "w"), expected)


@pytest.mark.backend("mxnet")
def test_an_empty_list_is_read(tmp_path):
    with classic_mxnet() as mx:
        mx.nd.save(str(tmp_path / "w"), [])
    assert read_params(tmp_path / "w") == {}


@pytest.mark.backend("mxnet")
def test_the_prefixes_of_a_module_checkpoint_are_left_out(tmp_path):
    with classic_mxnet() as mx:
        mx.nd.save(str(tmp_path / "w"), {n: mx.nd.array([1]) for n in ("arg:conv0_weight", "aux:bn_mean", "barg:x")})
    assert list(read_params(tmp_path / "w")) == ["conv0_weight", "bn_mean", "barg:x"]


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("storage", ["row_sparse", "csr"])
def test_sparse_arrays_are_refused(storage, tmp_path):
    with classic_mxnet() as mx:
        sparse = mx.nd.eye(3).tostype(storage)
        sparse.wait_to_read()  # otherwise MXNet may write the shape that it has until then
        mx.nd.save(str(tmp_path / "w"), {"dense": mx.nd.ones(2), "sparse": sparse, "more": mx.nd.ones(2)})
    with pytest.raises(InputError, match=rf"w: array 1 of 3, sparse: {storage} storage cannot be read: save it as"):
        read_params(tmp_path / "w")


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("numpy_semantics", [False, True])
def test_what_gluon_saved_is_read(numpy_semantics, tmp_path):
    import mxnet as mx

    with mx.util.np_array(False), mx.util.np_shape(numpy_semantics), mx.util.np_array(numpy_semantics):
        net = mx.gluon.nn.Sequential()
        net.add(mx.gluon.nn.Dense(3, in_units=2), mx.gluon.nn.BatchNorm(in_channels=3))
        net.initialize(mx.init.Uniform(1))
        net.save_parameters(str(tmp_path / "w"))
        expected = {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}
    assert sorted(expected) == sorted(
        ["0.weight", "0.bias", "1.gamma", "1.beta", "1.running_mean", "1.running_var"]
    )  # this and nothing else is being compared
    assert_same_arrays(read_params(tmp_path / "w"), expected)


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("version", [V1, None], ids=["version 1", "the oldest form"])
def test_the_older_forms_are_read_as_mxnet_reads_them(version, tmp_path):
    expected = examples()
    (tmp_path / "w").write_bytes(pack_list([pack(value, version) for value in expected.values()], expected))
    assert_same_arrays(read_params(tmp_path / "w"), expected)
    assert_same_arrays(load_with_mxnet(tmp_path / "w"), expected)


@pytest.mark.backend("mxnet")
def test_the_published_weights_are_read_as_mxnet_reads_them(data_dir):
    path = data_dir / "pretrained" / "ssd_pikachu-fbb7d872.params"
    arrays = read_params(path)
    assert len(arrays) == 92
    assert sum(value.size for value in arrays.values()) == 1_012_360
    assert_same_arrays(arrays, load_with_mxnet(path))


def test_an_array_of_a_gpu_is_read(tmp_path):
    value = np.arange(3, dtype=np.float32)
    (tmp_path / "w").write_bytes(pack_list([pack_array(V2, (3,), value.tobytes(), device=(2, 1))], ["x"]))
    assert_same_arrays(read_params(tmp_path / "w"), {"x": value})


def test_what_is_read_can_be_changed(tmp_path):
    write_params(tmp_path / "w", {"x": np.zeros(3, np.float32)})
    read_params(tmp_path / "w")["x"][1] = 1
    np.testing.assert_array_equal(read_params(tmp_path / "w")["x"], 0)


# What we write.


@pytest.mark.backend("mxnet")
def test_the_bytes_are_those_that_mxnet_writes(tmp_path):
    arrays = examples()
    with classic_mxnet() as mx:
        mx.nd.save(str(tmp_path / "theirs"), {name: mx.nd.array(v, dtype=v.dtype) for name, v in arrays.items()})
    write_params(tmp_path / "ours", arrays)
    assert (tmp_path / "ours").read_bytes() == sealed((tmp_path / "theirs").read_bytes())
    assert_same_arrays(load_with_mxnet(tmp_path / "ours"), arrays)


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("numpy_semantics", [False, True])
def test_gluon_loads_what_we_write(numpy_semantics, tmp_path):
    import mxnet as mx

    weight = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    write_params(tmp_path / "w", {"0.weight": weight, "0.bias": weight[:, 0]})
    with mx.util.np_array(False), mx.util.np_shape(numpy_semantics), mx.util.np_array(numpy_semantics):
        net = mx.gluon.nn.Sequential()
        net.add(mx.gluon.nn.Dense(3))
        net.load_parameters(str(tmp_path / "w"))
        np.testing.assert_array_equal(net[0].weight.data().asnumpy(), weight)
        np.testing.assert_array_equal(net[0].bias.data().asnumpy(), weight[:, 0])


@pytest.mark.backend("mxnet")
def test_the_bytes_of_scalars_and_empty_arrays_are_those_that_mxnet_writes_with_numpy_semantics(tmp_path):
    import mxnet as mx

    arrays = examples() | {"number": np.array(2.5), "empty": np.zeros((0, 3), np.float32)}
    write_params(tmp_path / "ours", arrays)
    with mx.util.np_shape(True), mx.util.np_array(True):
        mx.npx.save(str(tmp_path / "theirs"), {name: mx.np.array(v, dtype=v.dtype) for name, v in arrays.items()})
        loaded = {name: array.asnumpy() for name, array in mx.npx.load(str(tmp_path / "ours")).items()}
    assert (tmp_path / "ours").read_bytes() == sealed((tmp_path / "theirs").read_bytes())
    assert_same_arrays(loaded, arrays)


@pytest.mark.backend("mxnet")
def test_mxnet_loads_a_list_that_we_write_without_names(tmp_path):
    write_params(tmp_path / "w", {"0": np.arange(3.0), "1": np.ones((2, 2), np.float32)}, named=False)
    with classic_mxnet() as mx:
        first, second = mx.nd.load(str(tmp_path / "w"))
        np.testing.assert_array_equal(first.asnumpy(), [0, 1, 2])
        np.testing.assert_array_equal(second.asnumpy(), 1)
    assert not read_params_list(tmp_path / "w").named


@pytest.mark.backend("mxnet")
def test_the_prefixes_of_a_module_checkpoint_are_kept_on_demand(tmp_path):
    with classic_mxnet() as mx:
        mx.nd.save(str(tmp_path / "w"), {n: mx.nd.array([1]) for n in ("arg:fc", "aux:fc")})
    assert list(read_params(tmp_path / "w", keep_prefixes=True)) == ["arg:fc", "aux:fc"]
    assert read_params_list(tmp_path / "w").named
    with pytest.raises(InputError, match="two arrays have the name fc"):
        read_params(tmp_path / "w")


def test_a_byte_that_changed_anywhere_in_what_we_wrote_is_noticed(tmp_path):
    write_params(tmp_path / "w", {"conv.weight": np.arange(4, dtype=np.float32), "conv.bias": np.ones(2)})
    whole = (tmp_path / "w").read_bytes()
    for place in range(len(whole)):
        (tmp_path / "w").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError):
            read_params(tmp_path / "w")
    (tmp_path / "w").write_bytes(whole.replace(struct.pack("<f", 3), struct.pack("<f", 4)))
    with pytest.raises(InputError, match=r"w: the sha256 does not match: the file is damaged, take another copy$"):
        read_params(tmp_path / "w")


def test_a_name_that_is_no_unicode_is_not_written(tmp_path):
    with pytest.raises(InputError, match=r"the name '\\udc80' cannot be written as UTF-8: rename the array"):
        write_params(tmp_path / "w", {"\udc80": np.ones(1)})


def test_every_type_comes_back_and_so_do_the_bits_of_not_a_number(tmp_path):
    arrays = examples() | {"odd": np.array([np.nan, -0.0, np.inf, 5e-324]), "Größe µ": np.zeros(1, np.float16)}
    write_params(tmp_path / "new" / "w", arrays)
    read = read_params(tmp_path / "new" / "w")
    assert_same_arrays(read, arrays)
    assert read["odd"].tobytes() == arrays["odd"].tobytes()


def test_an_array_of_any_strides_or_byte_order_is_written_as_it_is_seen(tmp_path):
    seen = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {
        "turned": seen.T,
        "sliced": seen[::2, ::-3],
        "fortran": np.asfortranarray(seen),
        "big": seen.astype(">f4"),
    }
    write_params(tmp_path / "w", arrays)
    assert_same_arrays(read_params(tmp_path / "w"), {name: v.astype(np.float32) for name, v in arrays.items()})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, np.complex64), "array x is complex64; .params holds float32, float64"),
        (np.zeros(2, np.uint16), "array x is uint16"),
        (np.array(["a"]), "array x is <U1"),
        (np.float32(1).reshape(()), r"array x has shape \(\), which needs numpy_shapes"),
        (np.zeros((2, 0), np.float32), r"array x has shape \(2, 0\), which needs numpy_shapes"),
    ],
    ids=["complex", "uint16", "text", "scalar", "empty"],
)
def test_what_the_format_cannot_hold_is_refused_and_the_old_file_stays(value, message, tmp_path):
    (tmp_path / "w").write_bytes(b"old")
    with pytest.raises(InputError, match=message):
        write_params(tmp_path / "w", {"fine": np.ones(2, np.float32), "x": value}, numpy_shapes=False)
    assert (tmp_path / "w").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["w"]


# Damage.

ONE = struct.pack("<f", 1)


def one(*, version=V2, shape=(1,), values=ONE, names=("x",), **keywords):
    """Return a file of one array with one thing wrong."""
    return pack_list([pack_array(version, shape, values, **keywords)], names)


HUGE = 2**62
DAMAGED = {
    "empty file": (b"", "the header should take 24 bytes, 0 are left"),
    "cut header": (one()[:23], "the header should take 24 bytes, 23 are left"),
    "another file": (b"PK\3\4" + bytes(40), "starts with 0x4034b50, a .params file with 0x112"),
    "reserved": (struct.pack("<QQQQ", 0x112, 5, 0, 0), "the reserved number is 5, not 0"),
    "many arrays": (struct.pack("<QQQQ", 0x112, 0, HUGE, 0), f"announces {HUGE} arrays in 8 bytes"),
    "no arrays": (struct.pack("<QQQ", 0x112, 0, 1) + bytes(3), "array 0 of 1: the version should take 4 bytes, 3 are"),
    "unknown version": (one(version=0xF993FACB), "array 0 of 1: starts with 0xf993facb, which is no version"),
    "33 dimensions, oldest form": (one(version=None, ndim=33), "array 0 of 1: starts with 0x21, which is no version"),
    "no dimension, oldest form": (one(version=None, shape=()), "array 0 of 1: has no shape and no values"),
    "no dimension, version 1": (one(version=V1, shape=()), "array 0 of 1: has no shape and no values"),
    "no dimension, version 2": (one(shape=()), "array 0 of 1: has no shape and no values: initialise the network"),
    "unknown shape, version 3": (one(version=V3, shape=(), ndim=-1), "array 0 of 1: has no shape and no values"),
    "storage 3": (one(storage=3), "array 0 of 1: storage type 3, expected one of 0, 1, 2"),
    "storage -1": (one(storage=-1), "array 0 of 1: storage type -1"),
    "33 dimensions": (one(ndim=33), "array 0 of 1: 33 dimensions, expected at most 32"),
    "negative dimensions": (one(ndim=-2), "array 0 of 1: -2 dimensions"),
    "cut dimensions": (one(ndim=32), "array 0 of 1: 32 dimensions should take 256 bytes"),
    "dimension 0": (one(shape=(3, 0)), "array 0 of 1: dimension 1 is 0"),
    "dimension 0, version 1": (one(version=V1, shape=(0,)), "array 0 of 1: dimension 0 is 0"),
    "dimension 0, oldest form": (one(version=None, shape=(0,)), "array 0 of 1: dimension 0 is 0"),
    "dimension -1": (one(shape=(-1,)), "array 0 of 1: dimension 0 is -1"),
    "dimension -1, version 3": (one(version=V3, shape=(2, -1)), "array 0 of 1: dimension 1 is -1"),
    "product of two negatives": (one(shape=(-1, -1)), "array 0 of 1: dimension 0 is -1"),
    "2**62 values": (one(shape=(HUGE,)), f"array 0 of 1: shape ({HUGE},) is more than a computer can hold"),
    "2**40 values": (one(shape=(2**40,)), f"shape ({2**40},) of float32 should take {2**42} bytes, 21 are left"),
    "2**64 values": (one(shape=(2**32, 2**32)), "is more than a computer can hold"),
    "2**64 + 1 values": (one(shape=(274177, 67280421310721)), "is more than a computer can hold"),
    "empty but vast": (one(version=V3, shape=(0, HUGE), values=b""), "is more than a computer can hold"),
    "one value too many": (one(shape=(8,)), "shape (8,) of float32 should take 32 bytes, 21 are left"),
    "device 0": (one(device=(0, 0)), "array 0 of 1: device type 0, expected one of (1, 2, 3, 5)"),
    "bfloat16": (one(number=12, values=ONE[:2]), "array 0 of 1, x: bfloat16 cannot be read, because numpy lacks it"),
    "type 13": (one(number=13), "array 0 of 1: type 13 cannot be read, only 0 float32, 1 float64"),
    "type -1": (one(number=-1), "array 0 of 1: type -1 cannot be read"),
    "a bool of 2": (one(values=b"\2", number=7), "array 0 of 1: a bool is neither 0 nor 1"),
    "two names": (one(names=("x", "y")), "has 2 names for 1 arrays"),
    "2**62 names": (one(names=())[:-8] + struct.pack("<Q", HUGE), f"has {HUGE} names for 1 arrays"),
    "no number of names": (one(names=())[:-1], "the number of names should take 8 bytes, 7 are left"),
    "a vast name": (one(names=())[:-8] + struct.pack("<QQ", 1, HUGE), f"the name of array 0 should take {HUGE} bytes"),
    "no length of a name": (one()[:-2], "the name of array 0 should take 8 bytes, 7 are left"),
    "half a name": (one(names=("name",))[:-2], "the name of array 0 should take 4 bytes, 2 are left"),
    "not UTF-8": (one(names=(b"\xff\n",)), "the name of array 0 is b'\\xff\\n', which is not UTF-8"),
    "the same name": (pack_list([pack_array(V2, (1,), ONE)] * 2, ["x", "x"]), "two arrays have the name x, the second"),
    "the same twice": (pack_list([pack_array(V2, (1,), ONE)] * 2, ["arg:x", "aux:x"]), "two arrays have the name x, "),
    "a name of lines": (pack_list([pack_array(V2, (1,), ONE)] * 2, ["a\nb"] * 2), "two arrays have the name 'a\\nb', "),
    "a byte behind": (one() + b"\0", "1 bytes are left behind the last name"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_does_not_fit_together_is_refused_in_one_line(content, message, tmp_path):
    path = tmp_path / "w.params"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_params(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_array_that_is_wrong_is_named_by_its_place(tmp_path):
    arrays = [pack_array(V2, (1,), ONE), pack_array(V1, (1,), ONE), pack_array(V2, (1,), ONE, number=99)]
    (tmp_path / "w").write_bytes(pack_list(arrays, "abc"))
    with pytest.raises(InputError, match="w: array 2 of 3: type 99 cannot be read"):
        read_params(tmp_path / "w")


@pytest.mark.parametrize("what", ["missing", "folder", "pipe"])
def test_what_is_not_a_file_is_refused(what, tmp_path):
    path = tmp_path / "w.params"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match=r"w\.params: no such weights file"):
        read_params(path)


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    whole = pack_list([pack(np.arange(3.0), version) for version in (V1, V2, V3, None)], "abcd")
    (tmp_path / "w").write_bytes(whole)
    assert len(read_params(tmp_path / "w")) == 4
    for length in range(len(whole)):
        (tmp_path / "w").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_params(tmp_path / "w")


def damage(payload, rng):
    """Return a file with a bit flipped, a part overwritten, cut off or put in."""
    start, length = rng.integers(len(payload)), rng.integers(1, 9)
    end = start + length
    extreme = [b"\xff" * 8, bytes(8), struct.pack("<Q", HUGE), struct.pack("<Q", 2**31), struct.pack("<q", -1)]
    flipped = bytes([payload[start] ^ 1 << rng.integers(8)])
    return [
        payload[:start] + flipped + payload[start + 1 :],
        payload[:start] + rng.bytes(length) + payload[end:],
        payload[:start] + extreme[rng.integers(5)] + payload[start + 8 :],
        payload[:start],
        payload[:start] + rng.bytes(length) + payload[start:],
        payload[:start] + payload[end:],
    ][rng.integers(6)]


def test_a_damaged_file_is_refused_or_read_and_never_takes_memory_or_another_way_out(tmp_path):
    """A changed value or name cannot be noticed: the format has no checksum."""
    path, rng = tmp_path / "w.params", np.random.default_rng(0)
    few = {name: examples()[name] for name in list(examples())[:3]}
    wholes = [pack_list([pack(v, version) for v in few.values()], few) for version in (V1, V2, V3, None)]
    refused = 0
    for i in range(1200):
        path.write_bytes(damage(wholes[i % 4], rng))
        message = ""
        tracemalloc.start()
        try:
            for value in read_params(path).values():
                assert value.dtype.name in TYPES.values()
                assert value.nbytes <= path.stat().st_size
        except InputError as error:
            message = str(error)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 200_000, i  # mostly Python's own: the files have 300 bytes
        if message:
            refused += 1
            assert message.startswith(f"{path}: "), i
            assert "\n" not in message, i
    assert 600 < refused < 1200


@pytest.mark.parametrize("version", [V1, V2, V3, None])
@pytest.mark.parametrize("named", [True, False])
def test_a_file_of_the_smallest_arrays_takes_a_small_multiple_of_its_size(named, version, tmp_path):
    count = 5000
    array = pack_array(version, (1,), b"\0", number=3)
    (tmp_path / "w").write_bytes(pack_list([array] * count, map(str, range(count)) if named else ()))
    tracemalloc.start()
    arrays = read_params(tmp_path / "w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(arrays) == count
    assert peak < 20 * (tmp_path / "w").stat().st_size


def test_one_large_array_takes_its_own_size(tmp_path):
    write_params(tmp_path / "w", {"x": np.zeros(10**6, np.float32)})
    tracemalloc.start()
    read_params(tmp_path / "w")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * 4 * 10**6
