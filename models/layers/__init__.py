"""Keras layers of multi-task ranking. They know tensors only, so any Keras model can take them.

A *routing* decides which parameters a task shares with the others. All have one interface: built for a number of tasks,
called with one tensor that all tasks read or with a list of one tensor per task, giving a list of one tensor per task.
"""

from models.layers.experts import Experts
from models.layers.gated_extraction import Gate, GatedExtraction, ProgressiveExtraction
from models.layers.sequence_pooling import MaskedPooling
from models.layers.shared_bottom import SharedBottom
from models.layers.shared_rows import SharedRows
from models.layers.single_task import SingleTask
from models.layers.towers import Towers

__all__ = [
    "Experts",
    "Gate",
    "GatedExtraction",
    "MaskedPooling",
    "ProgressiveExtraction",
    "SharedBottom",
    "SharedRows",
    "SingleTask",
    "Towers",
]
