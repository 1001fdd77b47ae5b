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

from typing import TYPE_CHECKING

import lazy_loader

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
    from .dataset.cache_folder import ProposalStore
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

_NAMES = {
    "dataset.applied_thresholds": ["AppliedThresholds", "apply_thresholds"],
    "dataset.bank_edits": [
        "duplicate_memory_bank",
        "merge_memory_banks",
        "remove_references",
        "update_memory_bank",
    ],
    "dataset.bank_files": ["export_memory_bank", "import_memory_bank"],
    "dataset.bank_info": ["BankInfo"],
    "dataset.banks": [
        "build_memory_bank",
        "delete_memory_bank",
        "describe_refused",
        "get_memory_bank_info",
        "list_memory_banks",
        "load_memory_bank",
        "load_references_view",
        "rename_memory_bank",
        "save_memory_bank",
    ],
    "dataset.best_f1": ["Threshold"],
    "dataset.boxes": ["masks_from_boxes"],
    "dataset.comparison": ["ClassComparison", "Comparison", "compare_segmentations"],
    "dataset.evaluation": ["coco_figures", "evaluate"],
    "dataset.learning": ["BankChange"],
    "dataset.left_out": ["LeftOut"],
    "dataset.networks": ["download_networks"],
    "dataset.cache_folder": ["ProposalStore"],
    "dataset.proposing": ["ProposeReport", "clear_proposals", "get_proposals_info", "propose"],
    "dataset.reference_quality": [
        "ReferenceCheck",
        "check_references",
        "class_similarity",
        "reference_quality",
    ],
    "dataset.report": ["SampleNote", "SegmentReport", "load_segment_report"],
    "dataset.runs": ["RunInfo", "list_runs", "score_histogram"],
    "dataset.sampling": ["ReferenceSample", "sample_references"],
    "dataset.segmentation": ["segment"],
    "dataset.suggestions": ["Suggestions", "suggest_references"],
    "dataset.tagging": ["AddedReferences", "add_negatives", "add_references"],
    "dataset.thresholds": ["best_thresholds", "save_thresholds"],
    "errors": ["NttError"],
}

__getattr__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)[0]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
