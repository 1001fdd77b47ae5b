"""All operators of the plugin, in the order in which they are used."""

from __future__ import annotations

from ..runtime.operator import NttOperator
from .banks.build_memory_bank import BuildMemoryBank
from .banks.delete_memory_bank import DeleteMemoryBank
from .banks.duplicate_memory_bank import DuplicateMemoryBank
from .banks.export_memory_bank import ExportMemoryBank
from .banks.get_memory_bank_info import GetMemoryBankInfo
from .banks.import_memory_bank import ImportMemoryBank
from .banks.merge_memory_banks import MergeMemoryBanks
from .banks.rename_memory_bank import RenameMemoryBank
from .banks.save_thresholds import SaveThresholds
from .banks.update_memory_bank import UpdateMemoryBank
from .labels.apply_thresholds import ApplyThresholds
from .labels.compare_segmentations import CompareSegmentations
from .labels.evaluate_segmentation import EvaluateSegmentation
from .labels.masks_from_boxes import MasksFromBoxes
from .labels.segment_with_memory_bank import SegmentWithMemoryBank
from .proposals.clear_proposals import ClearProposals
from .proposals.compute_proposals import ComputeProposals
from .proposals.download_networks import DownloadNetworks
from .proposals.get_proposals_info import GetProposalsInfo
from .references.add_negatives import AddNegatives
from .references.add_references import AddReferences
from .references.check_references import CheckReferences
from .references.load_references_view import LoadReferencesView
from .references.promote_references import PromoteReferences
from .references.remove_references import RemoveReferences
from .references.sample_references import SampleReferences
from .references.suggest_references import SuggestReferences

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
