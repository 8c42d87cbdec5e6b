"""Every hyperparameter, in frozen dataclasses; the presets of the chapters; their tables in `config.toml`."""

from ssd_common.config.augment import AUGMENTATIONS, AugmentConfig, get_augmentation
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
    Config,
    LossConfig,
    ModelConfig,
    Precision,
    PredictConfig,
    TrainConfig,
    get_preset,
)  # fmt: skip
from ssd_common.config.run import RunConfig, read_run_config

__all__ = [
    "AUGMENTATIONS", "BASE_CHANNELS", "BLOCK_CHANNELS", "BOOK", "IMPROVED", "INPUT_MULTIPLE", "NUM_BLOCKS",
    "OFFSET_EPS", "PRESETS", "STRAIGHT_DOPE", "AnchorConfig", "AugmentConfig", "Config", "LossConfig",
    "ModelConfig", "Precision", "PredictConfig", "RunConfig", "TrainConfig", "get_augmentation", "get_preset",
    "read_run_config",
]  # fmt: skip
