"""Every hyperparameter, in frozen dataclasses; the presets of the chapters; their tables in `config.toml`."""

from ssd_common.config.augment import AUGMENTATIONS, AugmentConfig
from ssd_common.config.hyperparameters import (
    BASE_CHANNELS,
    BLOCK_CHANNELS,
    BOOK,
    IMPROVED,
    INPUT_MULTIPLE,
    NUM_BLOCKS,
    OFFSET_EPS,
    PRESETS,
    STRAIGHT_DOPE,
    AnchorConfig,
    LossConfig,
    ModelConfig,
    Precision,
    PredictConfig,
    Preset,
    TrainConfig,
    get_preset,
)  # fmt: skip

__all__ = [
    "AUGMENTATIONS", "BASE_CHANNELS", "BLOCK_CHANNELS", "BOOK", "IMPROVED", "INPUT_MULTIPLE", "NUM_BLOCKS",
    "OFFSET_EPS", "PRESETS", "STRAIGHT_DOPE", "AnchorConfig", "AugmentConfig", "LossConfig", "ModelConfig",
    "Precision", "PredictConfig", "Preset", "TrainConfig", "get_preset",
]  # fmt: skip
