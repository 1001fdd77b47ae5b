"""Demo scenes for a person who is never wrong: what each mask shows, and what it would teach."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from demo_ap import CATEGORY, encode, ground_truth

from ntt_plugin.dataset.evaluation.coco_metrics import evaluate_coco
from ntt_plugin.demo.scenes import Scene
from ntt_plugin.engine import MemoryBank, Proposals, Reference, Segmenter, match
from ntt_plugin.engine.proposals.cache import ProposalCache
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.errors import ReferenceRefusedError

_SHOWS = 0.5
_KEPT_BYTES = 10**9


class SeenScene:
    """A scene with its proposals, whose masks are made once, and with the truth about any mask."""

    def __init__(self, segmenter: Segmenter, scene: Scene, cache: ProposalCache | None) -> None:
        self.scene = scene
        self._segmenter = segmenter
        fresh = proposals_of(segmenter, scene, cache)
        self.proposals = replace(fresh, masks=[fresh.masks[i] for i in range(len(fresh))])

    @cached_property
    def _objects(self) -> np.ndarray:
        count = len(self.scene.classes)
        return np.stack([self.scene.mask(i).ravel() for i in range(count)])

    def ious(self, mask: np.ndarray) -> np.ndarray:
        """IoU of a mask (256, 256) with each object."""
        flat = mask.ravel()
        return (self._objects & flat).sum(1) / (self._objects | flat).sum(1)

    def shown(self, mask: np.ndarray) -> int | None:
        """The object that a mask shows, with an IoU of at least 0.5; None if it shows none."""
        ious = self.ious(mask)
        return int(ious.argmax()) if ious.max() >= _SHOWS else None

    def name(self, number: int) -> str:
        """The class of an object."""
        return self.scene.classes[number].name

    def mask_of(self, proposal: int) -> np.ndarray:
        """A proposal's mask at the scene's size."""
        full, mask = np.zeros(self.scene.owners.shape, bool), self.proposals.masks[proposal]
        if mask is not None:
            x1, y1, x2, y2 = mask.box
            full[y1:y2, x1:x2] = mask.unpack()
        return full

    def feature(self, mask: np.ndarray) -> torch.Tensor | None:
        """What a bank would learn from a mask; None if it yields nothing."""
        try:
            return self._segmenter.reference_feature(Reference(self.scene.image, mask, "any"))
        except ReferenceRefusedError:
            return None


def proposal_cache(segmenter: Segmenter, folder: Path | None) -> ProposalCache | None:
    """Proposals kept in a folder, so that another run of a script does not compute them again."""
    if folder is None or segmenter.upstream is None:
        return None
    store = ProposalStore(folder, _KEPT_BYTES)
    return ProposalCache(store, segmenter.upstream, segmenter.fingerprint)


def segm_ap(seen: list[SeenScene], bank: MemoryBank, segmenter: Segmenter) -> float:
    """AP of masks, by pycocotools, over all scenes."""
    found = []
    for image, entry in enumerate(seen):
        instances = match(entry.proposals, bank, segmenter.recipe)
        found += [
            {
                "image_id": image,
                "category_id": CATEGORY[label],
                "score": float(instances.scores[index]),
                "segmentation": encode(instances.full_mask(index)),
            }
            for index, label in enumerate(instances.labels)
        ]
    figures, _ = evaluate_coco(ground_truth([entry.scene for entry in seen]), found, "segm")
    return float(figures["AP"])


def copy_of(bank: MemoryBank) -> MemoryBank:
    """A bank that can be changed while the other stays."""
    return MemoryBank.from_bytes(bank.to_bytes())


def summary(values: list[float], before: list[float]) -> dict[str, Any]:
    """Values of each seed beside those they are to be compared with."""
    gains = np.array(values) - np.array(before)
    return {
        "mean": round(float(np.mean(values)), 4),
        "gain": round(float(gains.mean()), 4),
        "seeds_that_gain": int((gains > 0).sum()),
        "of_each_seed": [round(value, 4) for value in values],
    }


def proposals_of(segmenter: Segmenter, scene: Scene, cache: ProposalCache | None) -> Proposals:
    """A scene's proposals, which are kept if there is a cache."""
    if cache is None:
        return segmenter.propose(scene.image)
    digest = hashlib.sha256(scene.image.tobytes()).hexdigest()
    kept = cache.load(digest)
    if kept is None:
        cache.save(digest, segmenter.propose(scene.image))
        kept = cache.load(digest)
    assert kept is not None
    return kept
