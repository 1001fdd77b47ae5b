"""All operators of the plugin, in the order in which they are used."""

from __future__ import annotations

from .add_negatives import AddNegatives
from .add_references import AddReferences
from .apply_thresholds import ApplyThresholds
from .build_memory_bank import BuildMemoryBank
from .check_references import CheckReferences
from .clear_proposals import ClearProposals
from .compare_segmentations import CompareSegmentations
from .compute_proposals import ComputeProposals
from .delete_memory_bank import DeleteMemoryBank
from .download_networks import DownloadNetworks
from .duplicate_memory_bank import DuplicateMemoryBank
from .evaluate_segmentation import EvaluateSegmentation
from .export_memory_bank import ExportMemoryBank
from .get_memory_bank_info import GetMemoryBankInfo
from .get_proposals_info import GetProposalsInfo
from .import_memory_bank import ImportMemoryBank
from .load_references_view import LoadReferencesView
from .masks_from_boxes import MasksFromBoxes
from .merge_memory_banks import MergeMemoryBanks
from .operator import NttOperator
from .promote_references import PromoteReferences
from .remove_references import RemoveReferences
from .rename_memory_bank import RenameMemoryBank
from .sample_references import SampleReferences
from .save_thresholds import SaveThresholds
from .segment_with_memory_bank import SegmentWithMemoryBank
from .suggest_references import SuggestReferences
from .update_memory_bank import UpdateMemoryBank

OPERATORS: tuple[type[NttOperator], ...] = (
    SampleReferences,
    AddReferences,
    MasksFromBoxes,
    BuildMemoryBank,
    UpdateMemoryBank,
    SegmentWithMemoryBank,
    EvaluateSegmentation,
    SaveThresholds,
    ApplyThresholds,
    CompareSegmentations,
    SuggestReferences,
    PromoteReferences,
    AddNegatives,
    RemoveReferences,
    LoadReferencesView,
    CheckReferences,
    GetMemoryBankInfo,
    RenameMemoryBank,
    DuplicateMemoryBank,
    MergeMemoryBanks,
    DeleteMemoryBank,
    ExportMemoryBank,
    ImportMemoryBank,
    ComputeProposals,
    GetProposalsInfo,
    ClearProposals,
    DownloadNetworks,
)
