"""What the recipe's options do: near duplicates dropped, scores rescored by graph diffusion.

    python benchmarks/options_ap.py

AP on the demo's held-out scenes as ``demo_ap.py`` measures it, with the preset ``tiny`` and each
option, for the same draws of references; and the size of a kept record. Writes
``benchmarks/results/options_ap.json``.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from demo_ap import (
    draw_bank,
    protocol_options,
    recall,
    reference_features,
    score,
    summarise,
    true_names,
)

from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine import Segmenter, match
from ntt_plugin.engine.proposals.codec import encode_proposals

RESULTS = Path(__file__).parent / "results" / "options_ap.json"
OPTIONS: dict[str, dict[str, Any]] = {
    "preset": {},
    "duplicate_iou 0.95": {"duplicate_iou": 0.95},
    "duplicate_iou 0.9": {"duplicate_iou": 0.9},
    "duplicate_iou 0.8": {"duplicate_iou": 0.8},
    "rescoring diffusion": {"rescoring": "diffusion"},
    "no rescoring": {"merge_exponent": 0},
    "duplicate_iou 0.9, rescoring diffusion": {"duplicate_iou": 0.9, "rescoring": "diffusion"},
}


def main() -> None:
    """Measure every option and write the table."""
    parser = protocol_options(__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    segmenter = Segmenter.from_preset("tiny")
    scenes = [scoring_scene(index) for index in range(options.scenes)]
    features = reference_features(segmenter, options.references)
    table: dict[str, Any] = {}
    for name, changes in OPTIONS.items():
        changed = segmenter.with_recipe(replace(segmenter.recipe, **changes))
        proposals = [changed.propose(scene.image) for scene in scenes]
        banks = [
            draw_bank(changed, features, options.shots, seed, true_names)
            for seed in range(options.seeds)
        ]
        times = []
        for entry in proposals:
            began = time.perf_counter()
            match(entry, banks[0], changed.recipe)
            times.append(1e3 * (time.perf_counter() - began))
        table[name] = {
            **summarise([score(scenes, proposals, bank, changed) for bank in banks]),
            "proposals_an_image": statistics.fmean(len(entry) for entry in proposals),
            "record_bytes": statistics.fmean(len(encode_proposals(p)) for p in proposals),
            "recall_at_iou_0.75": recall(scenes, proposals, 0.75),
            "match_ms_median": round(statistics.median(times), 2),
        }
        print(f"{name:40s}", json.dumps(table[name]))
    result = {
        "preset": "tiny",
        "scenes": options.scenes,
        "shots": options.shots,
        "reference_seeds": options.seeds,
        "table": table,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
