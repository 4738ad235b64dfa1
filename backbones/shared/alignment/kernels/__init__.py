"""The two costly alignment operations, each in plain, memory-bounded and Triton form behind one
function. Imports torch alone."""

from backbones.shared.alignment.kernels.contrast import info_nce, score_info_nce, symmetric_info_nce
from backbones.shared.alignment.kernels.options import Pooling
from backbones.shared.alignment.kernels.pooled import attention_pooled_similarity
from backbones.shared.alignment.kernels.reference import region_attention

__all__ = [
    "Pooling",
    "attention_pooled_similarity",
    "info_nce",
    "region_attention",
    "score_info_nce",
    "symmetric_info_nce",
]
