"""Several processes train as one does, on loopback, with each framework's own engine."""

import numpy as np
import pytest
from PIL import Image

from ssd_common.backends import load_backend
from ssd_common.data.sampling import epoch_order
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.group import Group
from ssd_common.machine import threads
from ssd_common.runs.launch import free_port, job, run_job
from ssd_common.runs.predict import predict_files
from tests.distributed import worker

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder with 40 images in `in`; one of them cannot be read."""
    folder = tmp_path_factory.mktemp("images") / "in"
    folder.mkdir()
    scenes = SyntheticDataset(num_images=40, image_size=64)
    for i in range(40):
        Image.fromarray(scenes[i].image).save(folder / f"{i:02}.png")
    (folder / "07.png").write_bytes(b"no image")
    return folder


def begin(backend, images, folder):
    """Make a folder whose prediction was stopped after three images, in one process."""
    folder.mkdir()
    (folder / "in").symlink_to(images)
    found = predict_files(backend, worker.TRAINED, sorted((folder / "in").iterdir()), folder / "out", 0.5, "cpu")
    for _ in range(3):
        next(found)
    found.close()


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    """What one process leaves, by backend, computed when it is first asked for."""
    known = {}

    def left(backend):
        if backend.name not in known:
            folder = tmp_path_factory.mktemp("alone") / "work"
            begin(backend, images, folder)
            known[backend.name] = folder, worker.work(backend, folder)
        return known[backend.name]

    return left


@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_leave_what_one_does(backend, workers, alone, images, tmp_path):
    folder_of_one, expected_of_all = alone(backend)
    folder = tmp_path / "work"
    begin(backend, images, folder)
    processes = job(backend.name, workers, 2, free_port())
    processes = {name: variables | {"OMP_NUM_THREADS": str(threads())} for name, variables in processes.items()}
    code = "import runpy; runpy.run_module('tests.distributed.worker', run_name='__main__', alter_sys=True)"
    assert run_job(processes, code, [backend.name, str(folder)], 120) == 0
    expected = expected_of_all["trained"]
    for rank in range(workers):
        with np.load(folder / f"trained.{rank}.npz") as found:
            assert set(found) == set(expected)
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE, err_msg=f"{rank} {name}")
            largest = max(float(np.abs(found[name] - value).max()) for name, value in expected.items())
            print(f"{backend.name}, process {rank} of {workers}: largest difference {largest:.1e}")
        check_measured(folder / f"measured.{rank}.npz", expected_of_all["measured"], rank)
        check_predicted(folder / f"predicted.{rank}.npz", expected_of_all["predicted"], rank)
    drawn = sorted(path.name for path in (folder_of_one / "out").iterdir())
    assert drawn == sorted(path.name for path in (folder / "out").iterdir())
    assert len(drawn) == 39 + 2
    for name in drawn:
        one, several = ((place / "out" / name).read_bytes() for place in (folder_of_one, folder))
        assert one.replace(bytes(folder_of_one), b"") == several.replace(bytes(folder), b""), name


def check_measured(path, expected, rank):
    """An evaluation in several processes is that of one, bit by bit, in each of them."""
    with np.load(path) as found:
        assert set(found) == set(expected)
        for name, value in expected.items():
            if name != "error":
                assert np.asarray(value).dtype == found[name].dtype, name
                np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert expected["error"] == "InputError: image 12 cannot be read"
        assert str(found["error"]) == "SharedError: image 12 cannot be read"


def check_predicted(path, expected, rank):
    """Process 0 yields every image in the order of the files, and names the one that cannot be read."""
    with np.load(path) as found:
        assert found["images"].tolist() == ([] if rank else expected["images"])
        kind, text = str(found["error"]).split(": ", 1)
    assert len(expected["images"]) == 36
    assert kind == "SharedError"
    assert "07.png: not an image" in text
    assert "; 1 of 40 images could not be read" in text


def test_the_shares_of_a_batch_are_the_batch():
    order = epoch_order(27, 8, 0, 0)
    shares = [Group(rank, 4).shard(order) for rank in range(4)]
    for step, indices in enumerate(order[:-1]):
        assert sorted(np.concatenate([share[step] for share in shares])) == sorted(indices)
    assert [share[-1].tolist() for share in shares] == [[i] for i in [*order[-1].tolist(), order[-1][0]]]


def test_synchronised_batch_normalisation_keeps_the_weights_and_their_names():
    """PyTorch's, as docs/scale.md names it: in one process it is batch normalisation; in several it needs GPUs."""
    torch = pytest.importorskip("torch")
    backend = load_backend("torch")
    left = []
    for change in (lambda net: net, torch.nn.SyncBatchNorm.convert_sync_batchnorm):
        net = change(backend.weights.make_net(worker.MODEL, worker.TRAINED.weights))
        trainer = backend.train.make_trainer(net, worker.TRAIN)
        for _ in backend.train.train(net, trainer, worker.DATA, worker.MODEL, worker.TRAIN):
            pass
        left.append(backend.weights.get_weights(net))
    assert any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in net.modules())
    assert left[0].keys() == left[1].keys()
    for name, value in left[0].items():
        np.testing.assert_array_equal(left[1][name], value, err_msg=name)
