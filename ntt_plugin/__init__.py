"""No Time To Train for FiftyOne: instance segmentation from a few references, no training.

    import ntt_plugin as ntt

    ntt.sample_references(dataset, "ground_truth", shots=3)
    ntt.build_memory_bank(dataset, "ground_truth", "my_bank", tag="reference")
    ntt.segment(dataset, "my_bank", label_field="ntt")
    ntt.evaluate(dataset, "ntt", "ground_truth", eval_key="eval")

Names are imported when they are first used, so that importing this package costs nothing. The
engine can be used without FiftyOne: ``from ntt_plugin.engine import Segmenter``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dataset.applied_thresholds import AppliedThresholds, apply_thresholds
    from .dataset.bank_edits import (
        duplicate_memory_bank,
        merge_memory_banks,
        remove_references,
        update_memory_bank,
    )
    from .dataset.bank_files import export_memory_bank, import_memory_bank
    from .dataset.bank_info import BankInfo
    from .dataset.banks import (
        build_memory_bank,
        delete_memory_bank,
        describe_refused,
        get_memory_bank_info,
        list_memory_banks,
        load_memory_bank,
        load_references_view,
        rename_memory_bank,
        save_memory_bank,
    )
    from .dataset.best_f1 import Threshold
    from .dataset.boxes import masks_from_boxes
    from .dataset.comparison import ClassComparison, Comparison, compare_segmentations
    from .dataset.evaluation import coco_figures, evaluate
    from .dataset.learning import BankChange
    from .dataset.left_out import LeftOut
    from .dataset.networks import download_networks
    from .dataset.proposing import (
        ProposeReport,
        clear_proposals,
        get_proposals_info,
        propose,
    )
    from .dataset.reference_quality import (
        ReferenceCheck,
        check_references,
        class_similarity,
        reference_quality,
    )
    from .dataset.report import SampleNote, SegmentReport, load_segment_report
    from .dataset.runs import RunInfo, list_runs, score_histogram
    from .dataset.sampling import ReferenceSample, sample_references
    from .dataset.segmentation import segment
    from .dataset.suggestions import Suggestions, suggest_references
    from .dataset.tagging import AddedReferences, add_negatives, add_references
    from .dataset.thresholds import best_thresholds, save_thresholds
    from .engine.proposal_store import ProposalStore
    from .errors import NttError

__version__ = "0.1.0"

__all__ = [
    "AddedReferences",
    "AppliedThresholds",
    "BankChange",
    "BankInfo",
    "ClassComparison",
    "Comparison",
    "LeftOut",
    "NttError",
    "ProposalStore",
    "ProposeReport",
    "ReferenceCheck",
    "ReferenceSample",
    "RunInfo",
    "SampleNote",
    "SegmentReport",
    "Suggestions",
    "Threshold",
    "add_negatives",
    "add_references",
    "apply_thresholds",
    "best_thresholds",
    "build_memory_bank",
    "check_references",
    "class_similarity",
    "clear_proposals",
    "coco_figures",
    "compare_segmentations",
    "delete_memory_bank",
    "describe_refused",
    "download_networks",
    "duplicate_memory_bank",
    "evaluate",
    "export_memory_bank",
    "get_memory_bank_info",
    "get_proposals_info",
    "import_memory_bank",
    "list_memory_banks",
    "list_runs",
    "load_memory_bank",
    "load_references_view",
    "load_segment_report",
    "masks_from_boxes",
    "merge_memory_banks",
    "propose",
    "reference_quality",
    "remove_references",
    "rename_memory_bank",
    "sample_references",
    "save_memory_bank",
    "save_thresholds",
    "score_histogram",
    "segment",
    "suggest_references",
    "update_memory_bank",
]

_HOMES = {
    "AddedReferences": "dataset.tagging",
    "AppliedThresholds": "dataset.applied_thresholds",
    "BankChange": "dataset.learning",
    "BankInfo": "dataset.bank_info",
    "ClassComparison": "dataset.comparison",
    "Comparison": "dataset.comparison",
    "LeftOut": "dataset.left_out",
    "NttError": "errors",
    "ProposalStore": "engine.proposal_store",
    "ProposeReport": "dataset.proposing",
    "ReferenceCheck": "dataset.reference_quality",
    "ReferenceSample": "dataset.sampling",
    "RunInfo": "dataset.runs",
    "SampleNote": "dataset.report",
    "SegmentReport": "dataset.report",
    "Threshold": "dataset.best_f1",
    "Suggestions": "dataset.suggestions",
    "add_negatives": "dataset.tagging",
    "add_references": "dataset.tagging",
    "apply_thresholds": "dataset.applied_thresholds",
    "best_thresholds": "dataset.thresholds",
    "build_memory_bank": "dataset.banks",
    "check_references": "dataset.reference_quality",
    "class_similarity": "dataset.reference_quality",
    "clear_proposals": "dataset.proposing",
    "coco_figures": "dataset.evaluation",
    "compare_segmentations": "dataset.comparison",
    "delete_memory_bank": "dataset.banks",
    "describe_refused": "dataset.banks",
    "download_networks": "dataset.networks",
    "duplicate_memory_bank": "dataset.bank_edits",
    "evaluate": "dataset.evaluation",
    "export_memory_bank": "dataset.bank_files",
    "get_memory_bank_info": "dataset.banks",
    "get_proposals_info": "dataset.proposing",
    "import_memory_bank": "dataset.bank_files",
    "list_memory_banks": "dataset.banks",
    "list_runs": "dataset.runs",
    "load_memory_bank": "dataset.banks",
    "load_references_view": "dataset.banks",
    "load_segment_report": "dataset.report",
    "masks_from_boxes": "dataset.boxes",
    "merge_memory_banks": "dataset.bank_edits",
    "propose": "dataset.proposing",
    "reference_quality": "dataset.reference_quality",
    "remove_references": "dataset.bank_edits",
    "rename_memory_bank": "dataset.banks",
    "sample_references": "dataset.sampling",
    "save_memory_bank": "dataset.banks",
    "save_thresholds": "dataset.thresholds",
    "score_histogram": "dataset.runs",
    "segment": "dataset.segmentation",
    "suggest_references": "dataset.suggestions",
    "update_memory_bank": "dataset.bank_edits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
