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
    from .dataset.banks import (
        build_memory_bank,
        delete_memory_bank,
        get_memory_bank_info,
        list_memory_banks,
        load_memory_bank,
        rename_memory_bank,
        save_memory_bank,
    )
    from .dataset.evaluation import coco_figures, evaluate
    from .dataset.sampling import sample_references
    from .dataset.segmentation import SegmentReport, segment
    from .errors import NttError

__version__ = "0.1.0"

__all__ = [
    "NttError",
    "SegmentReport",
    "build_memory_bank",
    "coco_figures",
    "delete_memory_bank",
    "evaluate",
    "get_memory_bank_info",
    "list_memory_banks",
    "load_memory_bank",
    "rename_memory_bank",
    "sample_references",
    "save_memory_bank",
    "segment",
]

_HOMES = {
    "NttError": "errors",
    "SegmentReport": "dataset.segmentation",
    "build_memory_bank": "dataset.banks",
    "coco_figures": "dataset.evaluation",
    "delete_memory_bank": "dataset.banks",
    "evaluate": "dataset.evaluation",
    "get_memory_bank_info": "dataset.banks",
    "list_memory_banks": "dataset.banks",
    "load_memory_bank": "dataset.banks",
    "rename_memory_bank": "dataset.banks",
    "sample_references": "dataset.sampling",
    "save_memory_bank": "dataset.banks",
    "segment": "dataset.segmentation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
