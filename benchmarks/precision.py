"""What half precision does to the results: the demo's AP, and masks point by point.

    python benchmarks/precision.py

The preset ``tiny`` on the CPU with its networks in float32, bfloat16 and float16: AP on the demo's
held-out scenes as ``demo_ap.py`` measures it, for the same draws of references; and against float32
which points of the grid are kept, how alike the masks of those are that both keep, and how alike
their features. A preset's ``bfloat16`` means float32 on a CPU, so the networks are put together
here. Writes ``benchmarks/results/precision.json``.
"""

from __future__ import annotations

import json
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from demo_ap import (
    draw_bank,
    protocol_options,
    recall,
    reference_features,
    score,
    summarise,
    true_names,
)
from torch import Tensor

from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import scoring_scene
from ntt_plugin.engine import Fingerprint, Proposals, Recipe, Segmenter
from ntt_plugin.engine.networks.checkpoints import load_encoder, load_segmenter
from ntt_plugin.engine.networks.encoder import PatchEncoder
from ntt_plugin.engine.networks.mask_proposer import MaskProposer

RESULTS = Path(__file__).parent / "results" / "precision.json"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Seen:
    """What one precision makes of one image, point by point.

    Attributes:
        logits: of the best mask of every point, (points, m, m).
        ious: predicted IoUs, (points,).
        features: patch features, (C, g, g).
        proposals: of the points that are kept.
    """

    logits: Tensor
    ious: Tensor
    features: Tensor
    proposals: Proposals


def main() -> None:
    """Measure every precision and write the table."""
    parser = protocol_options(__doc__)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    scenes = [scoring_scene(index) for index in range(options.scenes)]
    table: dict[str, Any] = {}
    exact: list[Seen] = []
    for dtype in DTYPES:
        segmenter = build(dtype)
        seen = [look(segmenter, scene) for scene in scenes]
        exact = exact or seen
        features = reference_features(segmenter, options.references)
        proposals = [entry.proposals for entry in seen]
        banks = [
            draw_bank(segmenter, features, options.shots, seed, true_names)
            for seed in range(options.seeds)
        ]
        name = str(dtype).removeprefix("torch.")
        table[name] = {
            **summarise([score(scenes, proposals, bank, segmenter) for bank in banks]),
            "recall_at_iou_0.75": recall(scenes, proposals, 0.75),
            "proposals_an_image": statistics.fmean(len(entry) for entry in proposals),
            "against_float32": against(exact, seen, segmenter.recipe.iou_threshold),
        }
        print(name, json.dumps(table[name], indent=1), flush=True)
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


def build(dtype: torch.dtype) -> Segmenter:
    """The preset ``tiny`` on the CPU, its networks in a dtype."""
    recipe = Recipe.from_preset("tiny")
    encoder = load_encoder(recipe.encoder)
    config: Any = encoder.model.config
    fingerprint = Fingerprint(
        recipe.encoder,
        encoder.digest,
        recipe.encoder_size,
        config.hidden_size,
        recipe.context_ratio,
    )
    network: Any = load_segmenter(recipe.segmenter).model
    return Segmenter(
        recipe,
        PatchEncoder(encoder.model, fingerprint, CPU, dtype),
        MaskProposer(network, CPU, dtype),
        CPU,
    )


@torch.inference_mode()
def look(segmenter: Segmenter, scene: Scene) -> Seen:
    """All points of a scene, and the proposals that come of those that are kept."""
    recipe, side = segmenter.recipe, segmenter._encoder.size
    pixels, size = segmenter._input(scene.image)
    small = F.interpolate(pixels[None], (side, side), mode="bicubic", align_corners=False)
    logits, ious = segmenter._proposer.propose(pixels, recipe.grid, recipe.point_batch, -1.0)
    features = segmenter._encoder.encode(small)[0]
    kept = ious > recipe.iou_threshold
    proposals = Proposals.from_logits(
        logits[kept], ious[kept], features, size, segmenter.fingerprint
    )
    return Seen(logits, ious, features, proposals)


def against(exact: list[Seen], seen: list[Seen], threshold: float) -> dict[str, float]:
    """How far one precision is from float32, over all points of all scenes."""
    same = both = either = total = 0
    overlaps, cosines, differences = [], [], []
    for one, other in zip(exact, seen, strict=True):
        kept, kept_too = one.ious > threshold, other.ious > threshold
        shared = kept & kept_too
        same += int((kept == kept_too).sum())
        both += int(shared.sum())
        either += int((kept | kept_too).sum())
        total += len(kept)
        overlaps.append(mask_ious(one.logits[shared] > 0, other.logits[shared] > 0))
        cosines.append(F.cosine_similarity(one.features, other.features, dim=0).flatten())
        differences.append((one.ious - other.ious).abs())
    overlap = torch.cat(overlaps)
    return {
        "points_kept_or_dropped_alike": same / total,
        "points_kept_by_both_of_those_kept_by_either": both / either,
        "mask_iou_mean": float(overlap.mean()),
        "mask_iou_5_percent": float(overlap.quantile(0.05)),
        "masks_with_iou_of_at_least_0.9": float((overlap >= 0.9).float().mean()),
        "predicted_iou_difference_mean": float(torch.cat(differences).mean()),
        "patch_feature_cosine_mean": float(torch.cat(cosines).mean()),
    }


def mask_ious(one: Tensor, other: Tensor) -> Tensor:
    """IoUs of masks (n, m, m) in pairs; 1 where both are empty."""
    shared = (one & other).flatten(1).sum(dim=1)
    union = (one | other).flatten(1).sum(dim=1)
    return torch.where(union > 0, shared / union.clamp(min=1), 1.0)


if __name__ == "__main__":
    main()
