"""What a verb does for a caller in Python: train, evaluate, predict, compare, and the run folder."""

from ssd_common.runs.compare import compare_backends
from ssd_common.runs.evaluate import evaluation_tables, summarise, write_evaluation
from ssd_common.runs.folder import RunFolder, new_folder, read_rows, trivial_baselines
from ssd_common.runs.predict import find_pictures, predict_files
from ssd_common.runs.start import change_config, first_checkpoint, resumed_checkpoint
from ssd_common.runs.stop import stoppable
from ssd_common.runs.train import Trained, train_run

__all__ = [
    "RunFolder", "Trained", "change_config", "compare_backends", "evaluation_tables", "find_pictures",
    "first_checkpoint", "new_folder", "predict_files", "read_rows", "resumed_checkpoint", "stoppable", "summarise",
    "train_run", "trivial_baselines", "write_evaluation",
]  # fmt: skip
