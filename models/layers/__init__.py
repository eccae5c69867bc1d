"""Keras layers of multi-task ranking. They know tensors only, so any Keras model can take them.

A *routing* decides which parameters a task shares with the others. All have one interface: built for a number of tasks,
called with one tensor that all tasks read or with a list of one tensor per task, giving a list of one tensor per task.
"""

from models.layers.dtrn.attention import MaskedAttention
from models.layers.dtrn.conditional_norm import ConditionalLayerNorm
from models.layers.dtrn.conditional_transformer import ConditionalTransformer
from models.layers.dtrn.hypernetwork import HyperNetwork
from models.layers.dtrn.refinement import RepresentationRefinement
from models.layers.dtrn.task_interest import TaskInterest
from models.layers.experts import Experts
from models.layers.routings.adatt import TaskFusion
from models.layers.routings.cross_stitch import CrossStitch
from models.layers.routings.customized_sharing import CustomizedSharing
from models.layers.routings.mmoe import MultiGateMixture
from models.layers.routings.ple import Gate, GatedExtraction, ProgressiveExtraction
from models.layers.routings.shared_bottom import SharedBottom
from models.layers.routings.single_task import SingleTask
from models.layers.routings.stem import StemExtraction
from models.layers.sequence_pooling import MaskedPooling
from models.layers.shared_rows import SharedRows
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
