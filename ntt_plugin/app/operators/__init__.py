"""All operators of the plugin, in the order in which they are used."""

from __future__ import annotations

from ..runtime.operator import NttOperator
from .banks.build_memory_bank import BuildMemoryBank
from .banks.change_recipe import ChangeRecipe
from .banks.estimate_thresholds import EstimateThresholds
from .banks.manage_memory_bank import (
    DeleteMemoryBank,
    DuplicateMemoryBank,
    MergeMemoryBanks,
    RenameMemoryBank,
)
from .banks.save_thresholds import SaveThresholds
from .banks.share_memory_bank import ExportMemoryBank, ImportMemoryBank
from .banks.show_memory_bank import GetMemoryBankInfo, LoadReferencesView
from .banks.undo_memory_bank import UndoMemoryBank
from .banks.update_memory_bank import UpdateMemoryBank
from .labels.apply_thresholds import ApplyThresholds
from .labels.compare_recipes import CompareRecipes
from .labels.compare_segmentations import CompareSegmentations
from .labels.evaluate_segmentation import EvaluateSegmentation
from .labels.masks_from_boxes import MasksFromBoxes
from .labels.segment_with_memory_bank import SegmentWithMemoryBank
from .proposals import ClearProposals, ComputeProposals, DownloadNetworks, GetProposalsInfo
from .references.add_references import AddReferences
from .references.check_references import CheckReferences
from .references.remove_references import RemoveReferences
from .references.sample_references import SampleReferences
from .references.suggest_references import SuggestReferences
from .references.teach_predictions import AddNegatives, PromoteReferences
from .review.accept_labels import AcceptLabels
from .review.export_labels import ExportLabels
from .review.teach_review import TeachReview

OPERATORS: tuple[type[NttOperator], ...] = (
    SampleReferences,
    AddReferences,
    MasksFromBoxes,
    BuildMemoryBank,
    UpdateMemoryBank,
    UndoMemoryBank,
    SegmentWithMemoryBank,
    EvaluateSegmentation,
    EstimateThresholds,
    SaveThresholds,
    ApplyThresholds,
    CompareSegmentations,
    CompareRecipes,
    ChangeRecipe,
    TeachReview,
    AcceptLabels,
    ExportLabels,
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
