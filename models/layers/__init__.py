"""Keras layers of multi-task ranking. They know tensors only, so any Keras model can take them.

A *routing* decides which parameters a task shares with the others; `Routing` says what all have in common.
"""

from models.layers.dtrn.attention import MaskedAttention
from models.layers.dtrn.conditional_norm import ConditionalLayerNorm
from models.layers.dtrn.conditional_transformer import ConditionalTransformer
from models.layers.dtrn.hypernetwork import HyperNetwork
from models.layers.dtrn.refinement import RepresentationRefinement
from models.layers.dtrn.task_interest import TaskInterest
from models.layers.expert_bank import ExpertBank, Gate, fuse
from models.layers.experts import Experts
from models.layers.pair_products import products_between, products_within
from models.layers.routings.adatt import AdaTT
from models.layers.routings.base import FullyGatedRouting, LevelledRouting, Routing
from models.layers.routings.cross_stitch import CrossStitch
from models.layers.routings.customized_sharing import CustomizedSharing
from models.layers.routings.mmoe import MMoE
from models.layers.routings.ple import CGC, PLE
from models.layers.routings.shared_bottom import SharedBottom
from models.layers.routings.single_task import SingleTask
from models.layers.routings.stem import STEM
from models.layers.sequence_pooling import MaskedPooling
from models.layers.target_attention import TargetAttention
from models.layers.towers import Towers
from models.layers.user_item_rows import UserItemRows

__all__ = [
    "CGC",
    "PLE",
    "STEM",
    "AdaTT",
    "ConditionalLayerNorm",
    "ConditionalTransformer",
    "CrossStitch",
    "CustomizedSharing",
    "ExpertBank",
    "Experts",
    "FullyGatedRouting",
    "Gate",
    "HyperNetwork",
    "LevelledRouting",
    "MMoE",
    "MaskedAttention",
    "MaskedPooling",
    "RepresentationRefinement",
    "Routing",
    "SharedBottom",
    "SingleTask",
    "TargetAttention",
    "TaskInterest",
    "Towers",
    "UserItemRows",
    "fuse",
    "products_between",
    "products_within",
]
