"""What a verb does for a caller in Python: train, evaluate, predict, and the run folder.

`compare.compare_backends` draws: it is not here, so that the other verbs do not wait for matplotlib.
"""

from ssd_common.runs.evaluate import evaluation_tables, summarise, write_evaluation
from ssd_common.runs.folder import RunFolder, new_folder, read_rows, trivial_baselines
from ssd_common.runs.predict import find_pictures, predict_files
from ssd_common.runs.start import change_config, first_checkpoint, resumed_checkpoint
from ssd_common.runs.stop import stoppable
from ssd_common.runs.train import Trained, train_run

__all__ = [
    "RunFolder", "Trained", "change_config", "evaluation_tables", "find_pictures", "first_checkpoint", "new_folder",
    "predict_files", "read_rows", "resumed_checkpoint", "stoppable", "summarise", "train_run", "trivial_baselines",
    "write_evaluation",
]  # fmt: skip
