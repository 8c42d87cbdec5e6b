"""`.params` files of any model become safetensors and come back, to the bit; MXNet and safetensors are the judges."""

import contextlib
import hashlib
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ssd_common.checkpoints.any_model import load_any, save_any, table
from ssd_common.checkpoints.checkpoint import read_safetensors
from ssd_common.checkpoints.params_file import write_params
from ssd_common.checkpoints.params_list import TYPES, ParamsList
from ssd_common.cli import main
from ssd_common.errors import InputError

# mx.nd.array looks for scipy's sparse arrays at their old place.
pytestmark = pytest.mark.filterwarnings("ignore:Please use `csr_matrix`:DeprecationWarning")


@contextlib.contextmanager
def semantics(numpy):
    """With MXNet's numpy semantics or without, whatever `import ssd_mxnet` has turned on."""
    import mxnet as mx

    shape, array = mx.util.np_shape(numpy), mx.util.np_array(numpy)
    with contextlib.ExitStack() as stack:
        for part in (shape, array) if numpy else (array, shape):  # never numpy's arrays without numpy's shapes
            stack.enter_context(part)
        yield mx


def bits(arrays):
    """Return what two files must have in common: types, shapes and bytes by name."""
    return {name: (value.dtype.name, value.shape, value.tobytes()) for name, value in arrays.items()}


def there_and_back(folder, path):
    """Convert a `.params` file to safetensors and back, and return both paths."""
    save_any(folder / "there.safetensors", load_any(path)[0])
    save_any(folder / "back.params", load_any(folder / "there.safetensors")[0])
    return folder / "there.safetensors", folder / "back.params"


def assert_sealed(path, content):
    assert path.read_bytes() == content + b"tinyssd1" + hashlib.sha256(content).digest()


# Arrays.


def many_arrays(seed, scalars):
    """Return arrays of every type, of up to five dimensions, with the names of several kinds of models."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for i, kind in enumerate(TYPES.values()):
        for dimensions in range(0 if scalars else 1, 6):
            shape = tuple(rng.integers(0 if scalars else 1, 5, dimensions))
            bytes_ = rng.bytes(int(np.prod(shape)) * np.dtype(kind).itemsize)
            value = np.frombuffer(bytes_, np.uint8 if kind == "bool" else kind).reshape(shape)  # not a number, too
            name = f"{('arg:', 'aux:', '', 'features.0.')[i % 4]}layer{dimensions}_{kind}"
            arrays[name] = (value % 2).astype(bool) if kind == "bool" else value
    order = rng.permutation(list(arrays))
    return {str(name): arrays[name] for name in order}


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("numpy", [False, True], ids=["classic", "numpy"])
def test_arrays_of_every_type_and_shape_come_back_byte_for_byte(numpy, seed, tmp_path):
    expected = many_arrays(seed, scalars=numpy)
    assert {value.dtype.name for value in expected.values()} == set(TYPES.values())
    with semantics(numpy) as mx:
        array, save, load = (mx.np.array, mx.npx.save, mx.npx.load) if numpy else (mx.nd.array, mx.nd.save, mx.nd.load)
        save(str(tmp_path / "w"), {name: array(value, dtype=value.dtype) for name, value in expected.items()})
        there, back = there_and_back(tmp_path, tmp_path / "w")
        loaded = {name: value.asnumpy() for name, value in load(str(back)).items()}
    assert bits(load_file(there)) == bits(expected) == bits(loaded)
    assert_sealed(back, (tmp_path / "w").read_bytes())


@pytest.mark.backend("mxnet")
def test_a_list_without_names_comes_back_as_a_list(tmp_path):
    with semantics(numpy=False) as mx:
        mx.nd.save(str(tmp_path / "w"), [mx.nd.ones((2, i + 1)) for i in range(12)])
        there, back = there_and_back(tmp_path, tmp_path / "w")
        loaded = mx.nd.load(str(back))
        assert [array.shape for array in loaded] == [(2, i + 1) for i in range(12)]
    assert sorted(load_file(there), key=int) == [str(i) for i in range(12)]
    assert_sealed(back, (tmp_path / "w").read_bytes())


# Models.


def networks(mx):
    """Return networks of other people, by name: what each is called with, and how it is made."""
    nn, rnn, vision = mx.gluon.nn, mx.gluon.rnn, mx.gluon.model_zoo.vision
    image = (1, 3, 32, 32)
    return {
        "resnet": (image, lambda: vision.get_resnet(2, 18, classes=5, thumbnail=True)),
        "mobilenet": (image, lambda: vision.get_mobilenet(0.25, classes=5)),
        "squeezenet": ((1, 3, 224, 224), lambda: vision.squeezenet1_1(classes=5)),
        "lstm": ((4, 1, 6), lambda: rnn.LSTM(5, num_layers=2, bidirectional=True)),
        "words": ((2, 3), lambda: nn.Embedding(7, 4)),
        "dense": ((2, 6), lambda: nn.Dense(3)),
    }


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ["resnet", "mobilenet", "squeezenet", "lstm", "words", "dense"])
def test_a_network_of_gluon_loads_what_was_converted_there_and_back(name, dtype, tmp_path):
    with semantics(numpy=False) as mx:
        shape, make = networks(mx)[name]
        nets = [make(), make()]
        for net in nets:
            net.initialize(mx.init.Uniform(1))
            net(mx.nd.ones(shape))
            net.cast(dtype)
        nets[0].save_parameters(str(tmp_path / "w.params"))
        there, back = there_and_back(tmp_path, tmp_path / "w.params")
        nets[1].load_parameters(str(back))
        first, second = ({n: p.data().asnumpy() for n, p in net._collect_params_with_prefix().items()} for net in nets)
    assert bits(first) == bits(second) == bits(load_file(there))
    assert {value.dtype.name for value in first.values()} >= {dtype}


@pytest.mark.backend("mxnet")
@pytest.mark.filterwarnings("ignore:Cannot decide type for the following arguments:UserWarning")  # `imports` does
def test_the_prefixes_of_an_exported_network_are_kept_and_it_is_imported_again(tmp_path):
    with semantics(numpy=False) as mx:
        net = mx.gluon.nn.HybridSequential()
        net.add(mx.gluon.nn.Conv2D(2, 3), mx.gluon.nn.BatchNorm())
        net.initialize(mx.init.Uniform(1))
        net.hybridize()
        pictures = mx.nd.random.uniform(shape=(1, 3, 8, 8))
        expected = net(pictures).asnumpy()
        net.export(str(tmp_path / "net"))
        there, back = there_and_back(tmp_path, tmp_path / "net-0000.params")
        again = mx.gluon.SymbolBlock.imports(str(tmp_path / "net-symbol.json"), ["data"], str(back))
        np.testing.assert_array_equal(again(pictures).asnumpy(), expected)
    assert {name.split(":")[0] for name in load_file(there)} == {"arg", "aux"}


# Safetensors that others wrote.


def test_safetensors_of_others_become_params_and_their_metadata_is_not_taken_for_ours(tmp_path):
    arrays = {"b": np.arange(3, dtype=np.int8), "a": np.array(2.0), "c": np.zeros((0, 2), np.float16)}
    for i, text in enumerate(("[" * 100_000, '{"names": ["b"]}', '{"names": 5, "named": "no"}', "null", '["a"]')):
        save_file(arrays, tmp_path / "w", {"mxnet_params": text, "format": "pt"})
        params, metadata = load_any(tmp_path / "w")
        assert (params.numpy_shapes, params.named, metadata) == (False, True, ["format"])
        save_any(tmp_path / f"{i}.params", params)
        assert bits(load_any(tmp_path / f"{i}.params")[0].arrays) == bits(arrays)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.zeros(2, np.uint16), "array x is uint16; .params holds float32"),
        (np.zeros(2, np.complex64), "array x is complex64"),
    ],
)
def test_a_type_that_mxnet_lacks_is_refused_by_name(value, message, tmp_path):
    with pytest.raises(InputError, match=message):
        save_any(tmp_path / "w.params", ParamsList({"fine": np.ones(2), "x": value}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dtype", "size"), [("BF16", 2), ("F8_E4M3", 1)])
def test_a_type_that_numpy_lacks_is_refused(dtype, size, tmp_path):
    header = json.dumps({"x": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}).encode()
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    words = rf"w: not a readable safetensors file \(tensor x is {dtype}, which numpy lacks: save it as float32\)"
    with pytest.raises(InputError, match=words):
        load_any(tmp_path / "w")


# The command.


def run(capsys, *arguments):
    """Return exit code, lines of output and of errors of `tinyssd convert --any`."""
    with pytest.raises(SystemExit) as exit_:
        main(["convert", "--any", *map(str, arguments)])
    printed = capsys.readouterr()
    return exit_.value.code, printed.out.splitlines(), printed.err.splitlines()


def test_the_command_prints_what_is_in_a_file_and_converts_it(tmp_path, capsys):
    arrays = {"arg:fc_weight": np.ones((3, 2), np.float32), "step": np.array(7, np.int64), "e": np.zeros((0, 4), bool)}
    write_params(tmp_path / "w.params", arrays)
    lines = [
        "name           type     shape",
        "arg:fc_weight  float32  3 x 2",
        "step           int64    one number",
        "e              bool     0 x 4",
        "3 arrays, 7 values, 32 bytes of bool, float32, int64",
    ]
    assert run(capsys, tmp_path / "w.params") == (0, lines, [])
    target = tmp_path / "w.safetensors"
    assert run(capsys, tmp_path / "w.params", target) == (0, [*lines, f"wrote {target}: 3 arrays"], [])
    assert bits(load_file(target)) == bits(arrays)
    assert run(capsys, target) == (0, lines, [])


def test_a_name_with_escapes_is_made_visible_and_a_list_without_names_is_said(tmp_path):
    lines = table(ParamsList({"\x1b[31mred\n": np.ones(1)}, named=False))
    assert lines[1] == r"'\x1b[31mred\n'  float64  1"
    assert lines[-1] == "a list without names: each array is called by its place in it"


def test_metadata_that_is_not_kept_is_said(tmp_path, capsys):
    save_file({"x": np.ones(1)}, tmp_path / "w.safetensors", {"epoch": "3", "author": "me"})
    _, lines, _ = run(capsys, tmp_path / "w.safetensors", tmp_path / "w.params")
    assert lines[-2:] == ["metadata, which --any does not keep: author, epoch", f"wrote {tmp_path}/w.params: 1 arrays"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["w.params", "out.pt"], "out.pt: --any writes .params and .safetensors, not '.pt'"),
        (["no.params"], "no.params: no such weights file"),
        (["text"], "text: neither a .params file of MXNet nor a safetensors file, which --any converts"),
        (["w.params", "--preset", "book"], "--any keeps every name: leave out --preset, --class-names and --names"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "w.params", {"x": np.ones(1)})
    (tmp_path / "text").write_text("not weights at all")
    assert run(capsys, *arguments) == (2, [], [f"tinyssd: {message}"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text", "w.params"]


def test_without_any_the_file_to_write_is_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["convert", "w.params"])
    assert exit_.value.code == 2
    assert "convert IN OUT: name the file to write; only convert --any IN prints" in capsys.readouterr().err


def test_the_header_of_a_file_with_many_bfloat16_tensors_is_read_once(tmp_path, monkeypatch):
    count, path, loads, read = 1000, tmp_path / "w.safetensors", json.loads, []
    header = {f"{i}": {"dtype": "BF16", "shape": [2], "data_offsets": [4 * i, 4 * i + 4]} for i in range(count)}
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + b"\x80\x3f\x00\x40" * count)
    monkeypatch.setattr(json, "loads", lambda text: read.append(text) or loads(text))
    tensors, _ = read_safetensors(path, widen=True)
    assert len(read) == 1
    assert all(value.tolist() == [1.0, 2.0] for value in tensors.values())
    assert list(tensors) == sorted(header)
