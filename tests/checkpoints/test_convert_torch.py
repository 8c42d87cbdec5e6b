"""A state_dict of PyTorch: read as it was saved, loaded as we write it, and never run."""

import dataclasses
import os
import zipfile

import numpy as np
import pytest

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.checkpoints.convert import load_weights, save_weights
from ssd_common.config import BOOK, Config, RunConfig
from ssd_common.errors import InputError
from tests.checkpoints.convert_cases import assert_same_weights, classes, random_weights, refusal


def torch_net(num_classes):
    """Return a network of the book's structure and names."""
    from torch import nn

    def down_sample(channels, inputs):
        layers = []
        for n in (inputs, channels):
            layers += [nn.Conv2d(n, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        return nn.Sequential(*layers, nn.MaxPool2d(2))

    body = nn.Sequential(*(down_sample(channels, inputs) for inputs, channels in ((3, 16), (16, 32), (32, 64))))
    blocks = [body, *(down_sample(128, inputs) for inputs in (64, 128, 128)), nn.AdaptiveMaxPool2d(1)]
    net = nn.Module()
    for i, (block, inputs) in enumerate(zip(blocks, (64, 128, 128, 128, 128), strict=True)):
        net.add_module(f"blk_{i}", block)
        net.add_module(f"cls_{i}", nn.Conv2d(inputs, 4 * (num_classes + 1), 3, padding=1))
        net.add_module(f"bbox_{i}", nn.Conv2d(inputs, 4 * 4, 3, padding=1))
    return net


def torch_weights(net):
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    return {name: value for name, value in state.items() if "num_batches" not in name}


@pytest.mark.backend("torch")
@pytest.mark.parametrize("kind", ["zip", "safetensors"])
def test_the_state_dict_of_a_pytorch_network_is_read(kind, dtype, tmp_path):
    import torch
    from safetensors.torch import save_file as save_safetensors

    net = torch_net(num_classes=2).to(getattr(torch, dtype))
    if kind == "zip":
        torch.save(net.state_dict(), tmp_path / "w")
    else:
        save_safetensors(net.state_dict(), tmp_path / "w", {"format": "pt"})
    checkpoint = load_weights(tmp_path / "w", class_names=("cat", "dog"))
    assert_same_weights(checkpoint.weights, torch_weights(net))
    assert checkpoint.config.model == dataclasses.replace(BOOK.model, class_names=("cat", "dog"))
    assert checkpoint.config.predict == BOOK.predict


@pytest.mark.backend("torch")
@pytest.mark.parametrize("suffix", [".pt", ".PTH"])
def test_a_pytorch_network_loads_what_we_write_strictly(suffix, dtype, tmp_path):
    import torch

    model = classes(2)
    weights = random_weights(model, dtype)
    save_weights(tmp_path / f"w{suffix}", Checkpoint(weights, RunConfig(Config(model)), step=17))
    state = torch.load(tmp_path / f"w{suffix}", weights_only=True)
    net = torch_net(num_classes=2).to(getattr(torch, dtype))
    net.load_state_dict(state, strict=True)
    assert list(state) == list(net.state_dict())
    assert_same_weights(torch_weights(net), weights)
    assert net.blk_0[0][1].num_batches_tracked == 17


@pytest.mark.backend("torch")
def test_parameters_and_halves_in_a_state_dict_are_read(tmp_path):
    import torch

    net = torch_net(num_classes=1)
    state = {name: torch.nn.Parameter(value.bfloat16()) for name, value in torch_weights_as_tensors(net).items()}
    torch.save(state, tmp_path / "w")
    expected = {name: value.detach().float().numpy() for name, value in state.items()}
    assert_same_weights(load_weights(tmp_path / "w").weights, expected)


@pytest.mark.backend("torch")
def test_bfloat16_in_safetensors_is_read_as_pytorch_reads_it(tmp_path):
    from safetensors.torch import save_file

    halves = {name: value.bfloat16() for name, value in torch_weights_as_tensors(torch_net(num_classes=1)).items()}
    save_file(halves, tmp_path / "w")
    assert_same_weights(load_weights(tmp_path / "w").weights, {name: v.float().numpy() for name, v in halves.items()})


def torch_weights_as_tensors(net):
    return {name: value for name, value in net.state_dict().items() if "num_batches" not in name}


class Harmful:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.makedirs, (self.path,)


@pytest.mark.backend("torch")
def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path):
    import torch

    torch.save({"blk_0.0.0.weight": Harmful(tmp_path / "run")}, tmp_path / "w")
    assert "it holds 'os.makedirs'); write it with torch.save(net.state_dict(), path)" in refusal(tmp_path / "w")
    assert not (tmp_path / "run").exists()


@pytest.mark.backend("torch")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda torch: torch.nn.Conv2d(1, 1, 1), "it holds 'torch.nn.modules.conv.Conv2d'"),
        (lambda torch: [torch.ones(2)], "not a state_dict; write it with torch.save"),
        (lambda torch: {"epoch": 3, "model": {}}, "not a state_dict"),
        (lambda torch: {0: torch.ones(2)}, "not a state_dict"),
        (lambda torch: {"x": torch.eye(3).to_sparse()}, "tensor 'x' cannot be read by numpy"),
        (lambda torch: {"x": torch.ones(1).expand(10**6)}, "it is damaged, or its tensors share values"),
        (lambda torch: dict.fromkeys("abcdefgh", torch.ones(10**4)), "tensors of 320000 bytes in a file of"),
        (lambda torch: {}, "holds no tensors"),
        (lambda torch: {"blk_0\n": torch.ones(2)}, r"tensor 'blk_0\n' does not belong to the model"),
    ],
    ids=["network", "list", "dict of dicts", "numbered", "sparse", "expanded", "shared", "empty", "name of lines"],
)
def test_what_is_not_a_state_dict_is_refused(content, message, tmp_path):
    import torch

    torch.save(content(torch), tmp_path / "w")
    assert message in refusal(tmp_path / "w")


def rewrite_zip(path, compression=zipfile.ZIP_STORED, change=lambda name, content: content):
    """Write a zip anew, its records changed, with valid checksums."""
    with zipfile.ZipFile(path) as file:
        records = [(name, change(name, file.read(name))) for name in file.namelist()]
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in records:
            file.writestr(name, content)


@pytest.fixture
def small_zip(tmp_path):
    """A `torch.save` of two small tensors."""
    import torch

    torch.save({"a": torch.arange(4.0), "b": torch.ones(3)}, tmp_path / "w")
    return tmp_path / "w"


@pytest.mark.backend("torch")
def test_a_packed_zip_is_refused(small_zip):
    rewrite_zip(small_zip, zipfile.ZIP_DEFLATED)
    assert refusal(small_zip) == "a packed zip, which torch.save does not write"


@pytest.mark.backend("torch")
def test_another_zip_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", x=np.ones(3))  # what MXNet 2 writes
    assert refusal(tmp_path / "w.npz") == "a zip, but not one that torch.save wrote"


@pytest.mark.backend("torch")
def test_a_tensor_longer_than_its_values_is_refused(small_zip):
    # The pickle of `a`: 4 stored numbers, of which the tensor takes 4. It now announces 200.
    four, many = b"K\x04tq\x07QK\x00K\x04\x85", b"K\xc8tq\x07QK\x00K\xc8\x85"
    rewrite_zip(small_zip, change=lambda name, content: content.replace(four, many))
    assert "cannot be read as a state_dict (damaged, or more than tensors: RuntimeError)" in refusal(small_zip)


@pytest.mark.backend("torch")
def test_a_changed_value_in_a_zip_is_noticed(small_zip):
    content = small_zip.read_bytes()
    start = content.index(np.arange(4, dtype=np.float32).tobytes())
    for place in range(start, start + 16):
        small_zip.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert "a checksum or a length does not match; the file is damaged" in refusal(small_zip)


@pytest.mark.backend("torch")
@pytest.mark.filterwarnings("ignore")  # torch says what it thinks of a damaged pickle
def test_a_damaged_zip_is_refused_or_read_and_there_is_no_other_way_out(small_zip):
    from ssd_torch.state_dict import read_state_dict

    rng, messages = np.random.default_rng(0), []
    whole = small_zip.read_bytes()
    for i in range(400):
        place = rng.integers(len(whole))
        changed = [bytes([whole[place] ^ 1 << rng.integers(8)]), rng.bytes(4), b""][i % 3]
        small_zip.write_bytes(whole[:place] + changed + (whole[place + len(changed) :] if changed else b""))
        if i % 2:  # damage that checksums do not tell
            small_zip.write_bytes(whole)
            places = rng.integers(0, 200, 2)

            def flip(name, content, places=places):
                content = bytearray(content)
                for place in places if name.endswith("data.pkl") else ():
                    content[place] ^= 1 << (place % 8)
                return bytes(content)

            rewrite_zip(small_zip, change=flip)
        try:
            read = read_state_dict(small_zip)
        except InputError as error:
            messages.append(str(error))
        else:
            assert all(isinstance(value, np.ndarray) for value in read.values())
    assert len(messages) > 200
    assert all(message.startswith(f"{small_zip}: ") and "\n" not in message for message in messages)
