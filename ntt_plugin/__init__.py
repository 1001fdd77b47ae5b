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
    from .dataset.banks.add_references import AddedReferences, add_negatives, add_references
    from .dataset.banks.banks import (
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
    from .dataset.banks.edit import (
        duplicate_memory_bank,
        merge_memory_banks,
        remove_references,
        update_memory_bank,
    )
    from .dataset.banks.files import export_memory_bank, import_memory_bank
    from .dataset.banks.info import BankInfo
    from .dataset.banks.learn import BankChange
    from .dataset.banks.quality import (
        ReferenceCheck,
        check_references,
        class_similarity,
        reference_quality,
    )
    from .dataset.banks.thresholds import (
        AppliedThresholds,
        apply_thresholds,
        best_thresholds,
        save_thresholds,
    )
    from .dataset.evaluation.best_f1 import Threshold
    from .dataset.evaluation.compare import ClassComparison, Comparison, compare_segmentations
    from .dataset.evaluation.evaluate import coco_figures, evaluate
    from .dataset.evaluation.exclusions import LeftOut
    from .dataset.inspect.runs import RunInfo, list_runs, score_histogram
    from .dataset.networks import download_networks
    from .dataset.references.sampling import ReferenceSample, sample_references
    from .dataset.runtime.cache_folder import ProposalStore
    from .dataset.segmentation.masks_from_boxes import masks_from_boxes
    from .dataset.segmentation.propose import (
        ProposeReport,
        clear_proposals,
        get_proposals_info,
        propose,
    )
    from .dataset.segmentation.report import SampleNote, SegmentReport, load_segment_report
    from .dataset.segmentation.segment import segment
    from .dataset.suggestions.suggest import Suggestions, suggest_references
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
    "dataset.banks.edit": [
        "duplicate_memory_bank",
        "merge_memory_banks",
        "remove_references",
        "update_memory_bank",
    ],
    "dataset.banks.files": ["export_memory_bank", "import_memory_bank"],
    "dataset.banks.info": ["BankInfo"],
    "dataset.banks.banks": [
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
    "dataset.evaluation.best_f1": ["Threshold"],
    "dataset.segmentation.masks_from_boxes": ["masks_from_boxes"],
    "dataset.evaluation.compare": ["ClassComparison", "Comparison", "compare_segmentations"],
    "dataset.evaluation.evaluate": ["coco_figures", "evaluate"],
    "dataset.banks.learn": ["BankChange"],
    "dataset.evaluation.exclusions": ["LeftOut"],
    "dataset.networks": ["download_networks"],
    "dataset.runtime.cache_folder": ["ProposalStore"],
    "dataset.segmentation.propose": [
        "ProposeReport",
        "clear_proposals",
        "get_proposals_info",
        "propose",
    ],
    "dataset.banks.quality": [
        "ReferenceCheck",
        "check_references",
        "class_similarity",
        "reference_quality",
    ],
    "dataset.segmentation.report": ["SampleNote", "SegmentReport", "load_segment_report"],
    "dataset.inspect.runs": ["RunInfo", "list_runs", "score_histogram"],
    "dataset.references.sampling": ["ReferenceSample", "sample_references"],
    "dataset.segmentation.segment": ["segment"],
    "dataset.suggestions.suggest": ["Suggestions", "suggest_references"],
    "dataset.banks.add_references": ["AddedReferences", "add_negatives", "add_references"],
    "dataset.banks.thresholds": [
        "AppliedThresholds",
        "apply_thresholds",
        "best_thresholds",
        "save_thresholds",
    ],
    "errors": ["NttError"],
}

__getattr__ = lazy_loader.attach(__name__, submod_attrs=_NAMES)[0]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
