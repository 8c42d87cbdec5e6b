"""Every hyperparameter of the detector, in frozen dataclasses, and the presets that reproduce the chapters.

Sources: *Dive into Deep Learning*, section "Single Shot Multibox Detection" (d2l), *The Straight Dope*, chapter
"Object Detection Using Convolutional Neural Networks" (straight dope), and Liu et al., "SSD: Single Shot MultiBox
Detector", 2016, with its published code (SSD).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ssd_common.config.augment import AUGMENTATIONS, AugmentConfig
from ssd_common.errors import InputError

BASE_CHANNELS = (16, 32, 64)
"""Output channels of the base network's three downsampling blocks (d2l, `base_net`)."""
BLOCK_CHANNELS = 128
"""Output channels of the three downsampling blocks behind the base network (d2l, `get_blk`)."""
NUM_BLOCKS = 5
"""Feature map blocks, each with its own predictors (d2l, `TinySSD`)."""
INPUT_MULTIPLE = 2 ** (len(BASE_CHANNELS) + NUM_BLOCKS - 2)
"""Every downsampling block of `TinySSD` halves an image: those of the base network, and all others but the last."""
MAX_IMAGE_SIZE = 8192
"""A larger number in a file is taken for damage, not for a wish: the memory it takes grows with its square."""
MAX_BLOCKS = 12
"""With more blocks than this, no allowed image can be halved so often."""
OFFSET_EPS = 1e-6
"""Added inside the logarithm of the box offsets (d2l, `offset_boxes`)."""

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class AnchorConfig:
    """Sizes and aspect ratios of the anchors of each feature map block, of any number of blocks.

    At every unit of block `i` there are `len(sizes[i]) + len(ratios[i]) - 1` anchors. `TinySSD` has `NUM_BLOCKS`
    blocks; a network of one's own may have more or fewer.
    """

    sizes: tuple[tuple[float, ...], ...] = ((0.2, 0.272), (0.37, 0.447), (0.54, 0.619), (0.71, 0.79), (0.88, 0.961))
    """Side of a square anchor as a fraction of the image (d2l; the same in straight dope)."""
    ratios: tuple[tuple[float, ...], ...] = ((1.0, 2.0, 0.5),) * NUM_BLOCKS
    """Width over height (d2l; the same in straight dope)."""

    def __post_init__(self) -> None:
        if not 0 < len(self.sizes) == len(self.ratios) <= MAX_BLOCKS:
            wanted, blocks = f"each of 1 to {MAX_BLOCKS} blocks", f"{len(self.sizes)} and {len(self.ratios)}"
            raise InputError(f"anchors need sizes and ratios for {wanted}, got those of {blocks}")
        for kind, blocks_of in (("sizes", self.sizes), ("ratios", self.ratios)):
            for block, values in enumerate(blocks_of):
                if not values or not all(0 < v < float("inf") for v in values):
                    raise InputError(f"anchor {kind} of block {block} must be positive numbers, got {list(values)}")

    def check_blocks(self) -> None:
        """Raise InputError unless these are the anchors of `TinySSD`, which has `NUM_BLOCKS` blocks."""
        if len(self.sizes) != NUM_BLOCKS:
            raise InputError(
                f"anchors of TinySSD need sizes and ratios for {NUM_BLOCKS} blocks, got those of {len(self.sizes)}"
            )

    def per_unit(self, block: int) -> int:
        """The number of anchors at each unit of feature map `block`."""
        return len(self.sizes[block]) + len(self.ratios[block]) - 1


@dataclass(frozen=True)
class ModelConfig:
    """What a weights file must say so that its weights can be used: the network and its preprocessing."""

    class_names: tuple[str, ...] = ("banana",)
    """Object classes; class `i` is column `i + 1` of the class predictions, column 0 is background."""
    image_size: int = 256
    """Images are resized to this height and width, in pixels (d2l and straight dope)."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB value subtracted from every pixel, 0…255; d2l subtracts nothing."""
    anchors: AnchorConfig = field(default_factory=AnchorConfig)

    def __post_init__(self) -> None:
        if not self.class_names:
            raise InputError("a model needs at least one class name")
        for name in self.class_names:
            if len(name.splitlines()) != 1 or name != name.encode(errors="replace").decode():
                raise InputError(f"a class name must be one line of text that UTF-8 can hold, got {name!a:.80}")
        blocks = len(self.anchors.sizes)
        multiple = 2 ** (len(BASE_CHANNELS) + max(blocks, 2) - 2)
        if not multiple <= self.image_size <= MAX_IMAGE_SIZE or self.image_size % multiple:
            wanted = f"a multiple of {multiple} up to {MAX_IMAGE_SIZE}"
            raise InputError(f"the image size must be {wanted}, got {self.image_size!r:.40}")
        if not all(abs(value) < float("inf") for value in self.mean):
            raise InputError(f"mean must be three finite numbers, got {self.mean}")

    @property
    def num_classes(self) -> int:
        """Object classes, without background."""
        return len(self.class_names)

    @property
    def feature_map_sizes(self) -> tuple[int, ...]:
        """Height and width of each feature map: (32, 16, 8, 4, 1) for a 256 × 256 image.

        There are as many as blocks with anchors: each has half the height and width of the one before, the last has 1.
        """
        return (*(self.image_size // 2 ** (len(BASE_CHANNELS) + i) for i in range(len(self.anchors.sizes) - 1)), 1)

    @property
    def num_anchors(self) -> int:
        """Anchors in all: 5444 for the book's model."""
        return sum(size * size * self.anchors.per_unit(i) for i, size in enumerate(self.feature_map_sizes))


LARGEST = 1e38
"""The frameworks compute in float32, which has no number much above."""


def _check_number(name: str, value: float, is_positive: bool) -> None:
    name = name.replace("_", "-")
    if not (value > 0 if is_positive else value >= 0):
        raise InputError(
            f"{name} must be {'a positive number' if is_positive else 'a number of at least 0'}, got {value}"
        )
    if value > LARGEST:
        raise InputError(f"{name} must be at most {LARGEST:g}, got {value}")


@dataclass(frozen=True)
class LossConfig:
    """Which losses `calc_loss` adds up."""

    cls_loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """Class loss: d2l uses cross entropy, straight dope the focal loss."""
    bbox_loss: Literal["l1", "smooth_l1"] = "l1"
    """Offset loss: d2l uses L1, straight dope smooth L1."""
    alpha: float = 0.25
    """Focal loss: factor in front (straight dope, `FocalLoss`)."""
    gamma: float = 2.0
    """Focal loss: exponent of (1 - p) (straight dope, `FocalLoss`)."""
    sigma: float = 1.0
    """Smooth L1: square below 1 / sigma² (straight dope, `SmoothL1Loss`)."""
    negatives_per_positive: int = 0
    """Hard negative mining: so many background anchors count for each positive one (SSD: 3); 0 counts all (d2l)."""
    cls_weight: float = 1.0
    """Factor of the class loss (d2l and SSD: 1)."""
    bbox_weight: float = 1.0
    """Factor of the offset loss (d2l: 1; SSD's alpha, also 1)."""

    def __post_init__(self) -> None:
        if self.negatives_per_positive < 0:
            raise InputError(f"negatives-per-positive must not be negative, got {self.negatives_per_positive}")
        for name in ("alpha", "sigma", "gamma", "cls_weight", "bbox_weight"):
            _check_number(name, getattr(self, name), is_positive=name in ("alpha", "sigma"))


@dataclass(frozen=True)
class TrainConfig:
    """The training loop: stochastic gradient descent on the mean loss of a batch."""

    epochs: int = 20
    """Passes over the training images (d2l)."""
    batch_size: int = 32
    """Images a step (d2l); the last batch of an epoch may be smaller."""
    lr: float = 0.2
    """Learning rate (d2l); where it follows a schedule, its highest value."""
    schedule: Literal["constant", "cosine", "one-cycle"] = "constant"
    """How the learning rate changes from step to step, see `ssd_common.schedule`; d2l leaves it alone."""
    weight_decay: float = 5e-4
    """L2 penalty on every parameter, biases and batch normalisation included (d2l)."""
    momentum: float = 0.0
    """Of stochastic gradient descent (d2l uses none)."""
    init: Literal["xavier", "torch"] = "xavier"
    """Initial weights: Xavier as in d2l's MXNet edition, or PyTorch's default as in its PyTorch edition."""
    init_magnitude: float = 3.0
    """Xavier: the bound is sqrt(magnitude / mean(fan_in, fan_out)); Gluon's default is 3."""
    seed: int = 0
    """Of the initial weights, of the order of the images and of their augmentation."""
    precision: Precision = "fp32"
    """Of the network's forward and backward pass. With bf16 (PyTorch only), weights, losses and update stay float32."""
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How the training images are changed at random; d2l leaves them as they are."""

    def __post_init__(self) -> None:
        for name, low in (("epochs", 0), ("batch_size", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise InputError(f"{name.replace('_', '-')} must be at least {low}, got {getattr(self, name)}")
        for name in ("lr", "init_magnitude", "weight_decay"):
            _check_number(name, getattr(self, name), is_positive=name != "weight_decay")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum must be at least 0 and below 1, got {self.momentum}")


@dataclass(frozen=True)
class PredictConfig:
    """How predictions become detections."""

    nms_threshold: float = 0.5
    """A box that overlaps a better one by more than this IoU is suppressed (d2l)."""
    pos_threshold: float = 0.009999999
    """Scores below it are background (d2l)."""
    class_aware: bool = True
    """Boxes suppress only boxes of their own class; d2l and straight dope ignore the class."""
    clip: bool = True
    """Cut boxes off at the edges of the image; d2l does not."""
    top_k: int = 400
    """Only so many of the best boxes of an image compete; 0 lets all (d2l)."""

    def __post_init__(self) -> None:
        for name in ("nms_threshold", "pos_threshold"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.top_k < 0:
            raise InputError(f"top_k must not be negative, got {self.top_k}")


@dataclass(frozen=True)
class Config:
    """A complete configuration."""

    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    predict: PredictConfig = field(default_factory=PredictConfig)


BOOK = Config()
"""*Dive into Deep Learning*: raw pixels, cross entropy + L1, 20 epochs at learning rate 0.2.

This is the MXNet edition; `get_preset("book", "torch")` is the PyTorch edition, which has other initial weights.
"""

STRAIGHT_DOPE = Config(
    model=ModelConfig(class_names=("pikachu",), mean=(123.0, 117.0, 104.0)),
    train=TrainConfig(
        epochs=150,
        lr=0.1,
        init_magnitude=2.0,
        loss=LossConfig(cls_loss="focal", bbox_loss="smooth_l1"),
        augment=AUGMENTATIONS["straight-dope"],
    ),
    predict=PredictConfig(class_aware=False, clip=False, top_k=0),
)
"""*The Straight Dope*: mean subtracted, random crops, focal + smooth L1 loss, 150 epochs at learning rate 0.1."""

IMPROVED = Config(
    # Sides of about three to five units of a block's map: smaller boxes would be missed between two anchors. Ratios
    # near 1; `tinyssd data anchors` fits both to a dataset.
    model=ModelConfig(
        anchors=AnchorConfig(
            sizes=((0.1, 0.14), (0.2, 0.28), (0.4, 0.5), (0.6, 0.7), (0.8, 0.9)),
            ratios=((0.7, 1.0, 1.4),) * NUM_BLOCKS,
        )
    ),
    train=TrainConfig(
        epochs=18,
        batch_size=16,
        lr=0.05,
        schedule="one-cycle",
        momentum=0.9,
        init="torch",
        loss=LossConfig(bbox_loss="smooth_l1", negatives_per_positive=3),
        augment=AUGMENTATIONS["jitter"],
    ),
)
"""The exercises' answers together: smaller anchors, hard negatives 3:1, smooth L1, momentum, the rate in one cycle.

Smaller batches make more steps of the same images, and PyTorch's initial weights a lower offset error (see
docs/book_gap.md).
"""

PRESETS = {"book": BOOK, "straight-dope": STRAIGHT_DOPE, "improved": IMPROVED}


def get_preset(name: str, backend: str = "") -> Config:
    """Return the configuration called `name`.

    Args:
        name: of the preset.
        backend: "torch" makes `book` the PyTorch edition, which starts from PyTorch's own initial weights; otherwise it
            is the MXNet edition, which starts from Xavier's. The two editions have no other difference.

    Raises:
        InputError: there is none of that name; the message lists the names.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset '{name}'; the presets are {', '.join(PRESETS)}")
    if (name, backend) == ("book", "torch"):
        return replace(BOOK, train=replace(BOOK.train, init="torch"))
    return PRESETS[name]
