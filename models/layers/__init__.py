"""Keras layers of multi-task ranking. They know tensors only, so any Keras model can take them.

A *routing* decides which parameters a task shares with the others. All have one interface: built for a number of tasks,
called with one tensor that all tasks read or with a list of one tensor per task, giving a list of one tensor per task.
"""

from models.layers.attention import MaskedAttention
from models.layers.conditional_norm import ConditionalLayerNorm
from models.layers.conditional_transformer import ConditionalTransformer
from models.layers.cross_stitch import CrossStitch
from models.layers.customized_sharing import CustomizedSharing
from models.layers.experts import Experts
from models.layers.gated_extraction import Gate, GatedExtraction, ProgressiveExtraction
from models.layers.hypernetwork import HyperNetwork
from models.layers.mixture import MultiGateMixture
from models.layers.refinement import RepresentationRefinement
from models.layers.sequence_pooling import MaskedPooling
from models.layers.shared_bottom import SharedBottom
from models.layers.shared_rows import SharedRows
from models.layers.single_task import SingleTask
from models.layers.stem_extraction import StemExtraction
from models.layers.task_fusion import TaskFusion
from models.layers.task_interest import TaskInterest
from models.layers.towers import Towers

__all__ = [
    "ConditionalLayerNorm",
    "ConditionalTransformer",
    "CrossStitch",
    "CustomizedSharing",
    "Experts",
    "Gate",
    "GatedExtraction",
    "HyperNetwork",
    "MaskedAttention",
    "MaskedPooling",
    "MultiGateMixture",
    "ProgressiveExtraction",
    "RepresentationRefinement",
    "SharedBottom",
    "SharedRows",
    "SingleTask",
    "StemExtraction",
    "TaskFusion",
    "TaskInterest",
    "Towers",
]
