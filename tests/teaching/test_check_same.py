"""What a cell defines is compared with the package's: the right one passes, a planted error is told in a sentence."""

import re
from importlib import import_module

import numpy as np
import pytest

pytest.importorskip("IPython", reason="needs the extra: notebooks")

from ssd_common.errors import InputError
from ssd_common.teaching import DiffersError, check_same
from ssd_common.teaching.check_cases import CASES

IMPORTS = {
    "torch": "import torch\nfrom torch import nn\nfrom torch.nn import functional as F",
    "mxnet": "from mxnet import autograd, gluon, np, npx\nfrom mxnet.gluon import nn",
    "numpy": "import numpy as np",
}
BOTH = [pytest.param(name, marks=pytest.mark.backend(name)) for name in ("torch", "mxnet")]


def define(framework, source):
    """Return what a notebook's cells define: the names of the framework, and those of the source."""
    names = {}
    exec(IMPORTS[framework], names)
    exec(compile(source, "a cell", "exec"), names)
    return names


def in_torch(source):
    """Return a cell of MXNet's notebook as PyTorch's has it."""
    words = (
        (r"Conv2D\((.*?), kernel_size", r"Conv2d(num_inputs, \1, kernel_size"),
        (r"_predictor\(num_anchors", "_predictor(num_inputs, num_anchors"),
        (r"\.transpose\(0", ".permute(0"),
        ("axis=", "dim="),
        (r"np\.concatenate", "torch.cat"),
        (r"np\.", "torch."),
    )
    for old, new in words:
        source = re.sub(old, new, source)
    return source


@pytest.mark.parametrize("framework", [*BOTH, "numpy"])
def test_what_the_packages_have_is_the_same_as_itself(framework, capsys):
    package = "ssd_common" if framework == "numpy" else f"ssd_{framework}"
    seen = 0
    for name, case in CASES.items():
        try:
            thing = getattr(import_module(f"{package}.{case.module}"), name)
        except (ImportError, AttributeError):
            continue
        check_same(thing, backend=framework)
        assert capsys.readouterr().out == f"✓ {name} is {package}.{case.module}.{name}: {case.same}\n"
        seen += 1
    assert seen >= {"torch": 34, "mxnet": 34, "numpy": 18}[framework]


CELLS = {
    "cls_predictor": """
def cls_predictor(num_anchors, num_classes):
    return nn.Conv2D(num_anchors * (num_classes + 1), kernel_size=3, padding=1)
""",
    "flatten_pred": """
def flatten_pred(pred):
    return pred.transpose(0, 2, 3, 1).reshape(len(pred), -1)
""",
    "concat_preds": """
def flatten_pred(pred):
    return pred.transpose(0, 2, 3, 1).reshape(len(pred), -1)

def concat_preds(preds):
    return np.concatenate([flatten_pred(p) for p in preds], axis=1)
""",
    "bbox_eval": """
def bbox_eval(bbox_preds, bbox_labels, bbox_masks):
    return float(np.abs((bbox_labels - bbox_preds) * bbox_masks).sum())
""",
    "l1_loss": """
def l1_loss(errors):
    return np.abs(errors)
""",
}


def cell(framework, name):
    return CELLS[name] if framework == "mxnet" else in_torch(CELLS[name])


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("framework", BOTH)
def test_a_cell_as_the_chapter_has_it_passes(framework, name, capsys):
    check_same(define(framework, cell(framework, name))[name])
    assert capsys.readouterr().out.startswith(f"✓ {name} is ssd_{framework}.")


@pytest.mark.parametrize(
    ("name", "right", "wrong", "sentence"),
    [
        (
            "cls_predictor",
            "kernel_size=3, padding=1",
            "kernel_size=5, padding=2",
            r"cls_predictor\((8, )?5, 10\): its weight has the shape \(55, 8, 5, 5\), "
            r"the package's has \(55, 8, 3, 3\)",
        ),
        (
            "cls_predictor",
            "(num_classes + 1)",
            "num_classes",
            r"its weight has the shape \(50, 8, 3, 3\), the package's has \(55, 8, 3, 3\)",
        ),
        (
            "cls_predictor",
            ", padding=1",
            "",
            r"the output has the shape \(2, 55, 1, 2\), the package's has \(2, 55, 3, 4\)",
        ),
        (
            "flatten_pred",
            "0, 2, 3, 1",
            "0, 3, 2, 1",
            r"flatten_pred: the result at \[0, 6\] is .+, the package's is .+; \d+ of 144 values differ; they are the "
            "same values in another order",
        ),
        (
            "concat_preds",
            "=1)",
            "=0)",
            r"concat_preds: calling it fails in line 6 with \w+: (Sizes|Check failed: .+ expected)",
        ),
        (
            "bbox_eval",
            " * bbox_masks",
            "",
            r"bbox_eval: the result is .+, the package's is .+",
        ),
        (
            "l1_loss",
            "np.abs(errors)",
            "np.abs(errors) / 2",
            r"l1_loss: the result at \[0, 0\] is .+; 24 of 24 values differ; every value is 0.5 times the package's",
        ),
        ("l1_loss", "np.abs(errors)", "np.abs(errors.detach())", "l1_loss: no gradient reaches errors"),
        (
            "l1_loss",
            "np.abs(errors)",
            "errors_that_do_not_exist",
            "l1_loss: calling it fails in line 3 with NameError: name .+",
        ),
        (
            "cls_predictor",
            "return nn",
            "nn",
            "cls_predictor: calling it fails with AttributeError: 'NoneType' object .+; is a `return` missing",
        ),
        ("l1_loss", "return np.", "np.", r"l1_loss: the result is None; is a `return` missing\? \(compared"),
    ],
)
@pytest.mark.parametrize("framework", BOTH)
def test_a_planted_error_is_told_in_a_sentence(framework, name, right, wrong, sentence):
    words = (right, wrong) if framework == "mxnet" else (in_torch(right), in_torch(wrong))
    right_cell = cell(framework, name)
    assert words[0] in right_cell
    with pytest.raises(DiffersError) as caught:
        check_same(define(framework, right_cell.replace(*words))[name])
    assert re.search(sentence, str(caught.value))
    assert str(caught.value).endswith(f"(compared with ssd_{framework}.{CASES[name].module}.{name})")
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value._render_traceback_() == [f"≠ {caught.value}"]


@pytest.mark.backend("mxnet")
def test_the_gradient_that_mxnet_gives_to_the_wrong_side_of_where_is_found():
    """`np.where(condition, x, 0.0)` of MXNet 1.9.1 gives `x` its gradient where the condition is false."""
    source = "def l1_loss(errors):\n    return np.where(errors > 0, errors, 0.0) + np.where(errors < 0, -errors, 0.0)\n"
    sentence = r"l1_loss: the gradient of errors at \[0, 0\] is .+; every value is -1 times the package's"
    with pytest.raises(DiffersError, match=sentence):
        check_same(define("mxnet", source)["l1_loss"])


@pytest.mark.parametrize("framework", BOTH)
def test_a_variant_of_ones_own_is_reported_and_nothing_fails(framework, capsys):
    wide = cell(framework, "cls_predictor").replace("kernel_size=3, padding=1", "kernel_size=5, padding=2")
    check_same(define(framework, wide)["cls_predictor"], own=True)
    line = capsys.readouterr().out
    assert line.startswith("≠ cls_predictor(")
    assert line.endswith("(55, 8, 3, 3). The shapes of its results are the package's\n")
    narrow = cell(framework, "cls_predictor").replace(", padding=1", "")
    check_same(define(framework, narrow)["cls_predictor"], own=True)
    assert "shapes of its results" not in capsys.readouterr().out


@pytest.mark.parametrize("framework", BOTH)
def test_a_thing_of_another_name_is_compared_with_the_one_that_is_named(framework, capsys):
    source = cell(framework, "l1_loss").replace("l1_loss", "absolute")
    check_same(define(framework, source)["absolute"], name="l1_loss")
    assert capsys.readouterr().out.startswith(f"✓ absolute is ssd_{framework}.losses.l1_loss")


def test_without_a_framework_the_numpy_reference_is_meant(capsys):
    source = "def l1_loss(errors):\n    return np.abs(errors)\n"
    check_same(define("numpy", source)["l1_loss"])
    assert capsys.readouterr().out == "✓ l1_loss is ssd_common.losses.l1_loss: the same results and gradients\n"


@pytest.mark.backend("torch", "mxnet")
def test_a_notebook_with_both_frameworks_has_to_say_which(capsys):
    names = define("torch", "import mxnet\ndef l1_loss(errors):\n    return abs(errors)\n")
    with pytest.raises(InputError, match=r"l1_loss may be mxnet or torch; say which with backend="):
        check_same(names["l1_loss"])
    check_same(names["l1_loss"], backend="mxnet")
    assert "ssd_mxnet.losses.l1_loss" in capsys.readouterr().out
    exec("def l1_loss(errors):\n    return torch.abs(errors)\n", names)
    check_same(names["l1_loss"])
    assert "ssd_torch.losses.l1_loss" in capsys.readouterr().out


def test_a_name_that_no_package_has_is_refused():
    with pytest.raises(InputError, match=r"nothing to compare 'l2_loss' with; name= chooses one of TinySSD, "):
        check_same(define("numpy", "def l2_loss(errors):\n    return errors**2\n")["l2_loss"])
    with pytest.raises(InputError, match="ssd_common has no flatten_pred to compare with"):
        check_same(define("numpy", "def flatten_pred(pred):\n    return pred\n")["flatten_pred"])
    with pytest.raises(InputError, match="name= is for a single function"):
        check_same(np.abs, np.sin, name="l1_loss")
    with pytest.raises(InputError, match=r"takes functions and classes, not what they return: array\(\[1\.\]\)"):
        check_same(np.ones(1))


NETWORKS = {
    "torch": """
def train_step(net, trainer, X, Y):
    net.train()
    trainer.zero_grad()
    anchors, cls_preds, bbox_preds = net(X)
    bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
    loss = calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks).mean()
    loss.backward()
    trainer.step()
""",
    "mxnet": """
def train_step(net, trainer, X, Y):
    with autograd.record():
        anchors, cls_preds, bbox_preds = net(X)
        bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
        loss = calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks).mean()
    loss.backward()
    trainer.step(1)
""",
}
TRAIN = """
def train(net, trainer, data, model_config, train_config):
    for epoch in range(train_config.epochs):
        order = epoch_order(len(data), train_config.batch_size, train_config.seed, epoch)
        for images, labels in batches(data, order, model_config):
            train_step(net, trainer, to_device(images), to_device(labels))
        yield {"epoch": epoch + 1}
"""
PREDICT = """
def predict(net, images, model_config):
    return [detect(*forward(net, to_device(to_batch([image], model_config))))[0] for image in images]
"""


def network_cells(framework, source):
    package = f"ssd_{framework}"
    imports = "\n".join(
        f"from {package}.{module} import {name}"
        for module, name in (
            ("data", "to_device"),
            ("losses", "calc_loss"),
            ("predict", "detect, forward"),
            ("targets", "multibox_target"),
        )
    )
    return define(
        framework, f"from ssd_common.data.sampling import batches, epoch_order, to_batch\n{imports}\n{source}"
    )


@pytest.mark.parametrize("framework", BOTH)
def test_a_network_that_returns_nothing_is_told_so(framework):
    source = f"from ssd_{framework}.model import TinySSD as Complete\nclass TinySSD(Complete):\n"
    source += "    def forward(self, X):\n        super().forward(X)\n"
    with pytest.raises(DiffersError, match=r"TinySSD\(1\): the output is None; is a `return` missing\?"):
        check_same(define(framework, source)["TinySSD"], backend=framework)


@pytest.mark.parametrize("framework", BOTH)
def test_a_training_step_a_loop_and_a_prediction_pass(framework, capsys):
    names = network_cells(framework, NETWORKS[framework] + PREDICT)
    check_same(names["train_step"], names["predict"])
    assert capsys.readouterr().out.count("✓") == 2


@pytest.mark.parametrize("framework", BOTH)
def test_a_training_loop_that_has_no_errors_to_show_is_told_so(framework):
    names = network_cells(framework, NETWORKS[framework] + TRAIN)
    with pytest.raises(DiffersError, match="it has 92 results, the package's has 96; class_error of epoch 1 is"):
        check_same(names["train"])


@pytest.mark.parametrize(
    ("framework", "right", "wrong"),
    [
        pytest.param("torch", "    trainer.zero_grad()\n", "", marks=pytest.mark.backend("torch")),
        pytest.param("torch", "net.train()", "net.eval()", marks=pytest.mark.backend("torch")),
        pytest.param("mxnet", "step(1)", "step(len(X))", marks=pytest.mark.backend("mxnet")),
    ],
)
def test_a_training_step_with_a_planted_error_ends_with_other_weights(framework, right, wrong):
    assert right in NETWORKS[framework]
    names = network_cells(framework, NETWORKS[framework].replace(right, wrong))
    with pytest.raises(DiffersError, match=r"train_step: \S+ after two steps at .+ is .+, the package's is "):
        check_same(names["train_step"])


DISPLAY = """
def display(image, output, threshold):
    axes = Figure().subplots()
    axes.imshow(image)
    for row in output:
        if row[1] >= threshold:
            x, y, right, low = row[2:] * [80, 60, 80, 60]
            axes.add_patch(Rectangle((x, y), right - x, low - y, fill=False))
            axes.text(x, y, f"{row[1]:.2f}")
    return axes
"""


def test_a_figure_of_ones_own_is_judged_by_the_boxes_on_it(capsys):
    imports = "from matplotlib.figure import Figure\nfrom matplotlib.patches import Rectangle\n"
    check_same(define("numpy", imports + DISPLAY)["display"])
    assert capsys.readouterr().out.startswith("✓ display is what the notebook asks for")
    with pytest.raises(
        DiffersError, match=r"display: what is drawn has the shape \(3, 4\), the package's has \(2, 4\)"
    ):
        check_same(define("numpy", imports + DISPLAY.replace(">= threshold", "> 0"))["display"])
    with pytest.raises(DiffersError, match="display: what is drawn at"):
        check_same(define("numpy", imports + DISPLAY.replace("80, 60, 80, 60", "60, 80, 60, 80"))["display"])
