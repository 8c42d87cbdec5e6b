"""The learning rate of every step: one function for both backends.

A rate depends on the configuration and the number of the step alone, so a training run that is resumed goes on with the
rate that it would have had. Asked for more epochs than before, it follows the longer schedule from there on.
"""

from __future__ import annotations

import math

from ssd_common.config import TrainConfig

WARM_UP = 0.3
"""Share of the steps in which one-cycle rises (PyTorch's `pct_start`)."""
FIRST = 1 / 25
"""One-cycle begins at this share of the highest rate (PyTorch's `div_factor`)."""
LAST = FIRST / 1e4
"""One-cycle ends at this share of the highest rate (PyTorch's `final_div_factor`)."""


def learning_rate(train_config: TrainConfig, step: int, num_steps: int) -> float:
    """Return the learning rate of one step.

    "constant" is `lr` throughout; "cosine" falls from there toward 0 along half a cosine; "one-cycle" rises to
    it from a low rate and falls to a much lower one, both along half a cosine.

    Args:
        train_config: `lr` and `schedule` are used.
        step: from 0.
        num_steps: steps of the whole training, resumed or not.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, without restarts; Smith
    and Topin, "Super-Convergence", 2018, as in PyTorch's `OneCycleLR` with its defaults.
    """
    if train_config.schedule == "cosine":
        return train_config.lr * _between(1, 0, step / num_steps)
    if train_config.schedule == "one-cycle":
        top, last = WARM_UP * num_steps - 1, num_steps - 1  # the steps with the highest and the lowest rate
        if step <= top:
            return train_config.lr * _between(FIRST, 1, step / top)
        return train_config.lr * _between(1, LAST, (step - top) / (last - top))
    return train_config.lr


def _between(first: float, last: float, share: float) -> float:
    """Return the value at a share of the way from one to another along half a cosine."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
