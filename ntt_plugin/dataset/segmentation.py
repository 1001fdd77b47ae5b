"""A view through the segmenter, sample by sample, into a field of labels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import fiftyone as fo
import torch

from ..engine.config import Recipe
from ..engine.matching import match
from ..engine.memory import MemoryBank
from ..engine.references import Provenance
from ..errors import DatasetError
from .banks import Progress, bank_digest, load_memory_bank, saved_name
from .checks import dataset_of, require_images
from .label_field import check_field, prepare_field, run_id, save_report
from .labels import to_detections
from .segmenters import SegmenterLike, as_recipe, get_segmenter


@dataclass(frozen=True)
class SampleFailure:
    """A sample that could not be segmented or saved, and why."""

    sample: str
    filepath: str
    reason: str


@dataclass
class SegmentReport:
    """What a segmentation did; also kept with the dataset.

    Attributes:
        label_field: the field written.
        bank: the memory bank's name.
        preset: the recipe's preset.
        segmented: samples labelled now.
        instances: labels written to them.
        skipped: samples that an earlier call of the same run had labelled.
        deleted: samples that were deleted meanwhile.
        failed: samples that could not be done, each with the reason.
        seconds: wall time.
    """

    label_field: str
    bank: str
    preset: str
    segmented: int = 0
    instances: int = 0
    skipped: int = 0
    deleted: int = 0
    failed: list[SampleFailure] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        """The counts in words, for logs and messages."""
        parts = [
            f"{self.instances} instances in {self.segmented} images "
            f"({self.seconds:.1f} s) into {self.label_field!r} with {self.bank!r}"
        ]
        if self.skipped:
            parts.append(f"{self.skipped} done before")
        if self.deleted:
            parts.append(f"{self.deleted} deleted meanwhile")
        if self.failed:
            first = self.failed[0]
            parts.append(f"{len(self.failed)} failed, the first {first.filepath}: {first.reason}")
        return "; ".join(parts)


@dataclass(frozen=True)
class SegmentPlan:
    """A checked run: what ``run_plan`` needs to go through its samples."""

    dataset: Any
    sample_ids: list[str]
    segmenter: SegmenterLike
    bank: MemoryBank
    run: str
    report: SegmentReport


def segment(
    samples: Any,
    bank: MemoryBank | str,
    label_field: str = "ntt",
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
    progress: Progress = None,
    *,
    preset: str | Recipe | None = None,
    segmenter: SegmenterLike | None = None,
) -> SegmentReport:
    """Find the bank's classes in each image and write them as ``fo.Detections``.

    All instances are written, none is filtered by score. Each label has a pixel-tight box, its
    mask, ``confidence``, ``margin`` (similarity minus that of the next best class),
    ``proposal_iou``, ``reference`` (id of the reference label most like it) and ``bank``. A
    sample in which nothing is found gets empty ``Detections``. A second call goes on where an
    interrupted one stopped.

    Args:
        samples: a dataset or view of images.
        bank: a memory bank, or the name of one saved with the dataset.
        label_field: the field to write; made if it is new.
        device: where to run; the best there is if None.
        batch_size: points decoded at once; less needs less memory. The recipe's if None.
        overwrite: replace labels that an earlier segmentation wrote in these samples.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.
        preset: a preset's name or a recipe, in place of the one the bank was built with, which
            the bank keeps however it was changed, saved or loaded. That one names the networks
            to load: hub ids, or paths. For a bank file from a stranger look at its ``recipe``
            or give a preset: loading a network runs no code of its file, and an encoder that did
            not make the bank is refused, but only after it was loaded, and no fingerprint is
            kept of the segmenter.
        segmenter: an engine ``Segmenter`` to use in place of preset, device and batch size.

    Returns:
        Counts, and each sample that failed with its reason; failures do not stop the run.

    Raises:
        DatasetError: no such bank, an empty one, or a field that cannot be written.
        BankError: the bank was made by another encoder than the recipe's; names both.
    """
    plan = plan_segmentation(
        samples,
        bank,
        label_field,
        device,
        batch_size,
        overwrite,
        preset=preset,
        segmenter=segmenter,
    )
    with fo.ProgressBar(total=len(plan.sample_ids), progress=progress) as bar:
        for _ in bar(run_plan(plan)):
            pass
    return plan.report


def plan_segmentation(
    samples: Any,
    bank: MemoryBank | str,
    label_field: str = "ntt",
    device: str | torch.device | None = None,
    batch_size: int | None = None,
    overwrite: bool = False,
    *,
    preset: str | Recipe | None = None,
    segmenter: SegmenterLike | None = None,
) -> SegmentPlan:
    """Check everything, load the networks and make the field ready; arguments as ``segment``."""
    require_images(samples)
    dataset = dataset_of(samples)
    name, bank = _resolve_bank(dataset, bank)
    if not bank.classes:
        raise DatasetError(f"The memory bank {name!r} is empty; add references to it first.")
    recipe = segmenter.recipe if segmenter else as_recipe(preset or bank.recipe)
    run = run_id(bank_digest(bank), recipe)
    # Before the networks are loaded, which can take minutes; cleared only after.
    check_field(samples, label_field, run, overwrite)
    segmenter = segmenter or get_segmenter(recipe, device, batch_size)
    bank.require_encoder(segmenter.fingerprint)

    report = SegmentReport(label_field, name, recipe.name)
    record = {
        "bank": name,
        "bank_digest": bank_digest(bank),
        "bank_version": bank.version,
        "recipe": asdict(recipe),
    }
    sample_ids = prepare_field(samples, label_field, run, record, overwrite)
    report.skipped = len(samples) - len(sample_ids)
    return SegmentPlan(dataset, sample_ids, segmenter, bank, run, report)


def run_plan(plan: SegmentPlan) -> Iterator[str]:
    """Segment a plan's samples, yielding the id of each when it is done, failed or gone.

    ``plan.report`` grows meanwhile. At the end, also an early one, it is kept with the dataset.
    """
    sources = {
        reference.id: reference.provenance
        for label in plan.bank.classes
        for reference in plan.bank.references(label)
    }
    # Only our own field is fetched, and one sample at a time: a cursor held open between slow
    # steps would expire, and a sample deleted meanwhile would go unnoticed.
    view = plan.dataset.select_fields(plan.report.label_field)
    started = time.monotonic()
    try:
        for sample_id in plan.sample_ids:
            _segment_sample(plan, view, sample_id, sources)
            yield sample_id
    finally:
        plan.report.seconds = time.monotonic() - started
        save_report(plan.dataset, plan.report.label_field, asdict(plan.report))


def _segment_sample(
    plan: SegmentPlan, view: Any, sample_id: str, sources: dict[str, Provenance]
) -> None:
    report = plan.report
    filepath = ""
    try:
        sample = view[sample_id]
        filepath = sample.filepath
        proposals = plan.segmenter.propose(Path(filepath))
        instances = match(proposals, plan.bank, plan.segmenter.recipe)
        sample[report.label_field] = to_detections(instances, report.bank, plan.run, sources)
        sample.save()
    except Exception as error:
        if _is_gone(view, sample_id):
            report.deleted += 1
        else:
            reason = str(error) or type(error).__name__
            report.failed.append(SampleFailure(sample_id, filepath, reason))
        return
    report.segmented += 1
    report.instances += len(instances)


def _is_gone(view: Any, sample_id: str) -> bool:
    try:
        view[sample_id]
    except KeyError:
        return True
    except Exception:
        return False
    return False


def _resolve_bank(dataset: Any, bank: MemoryBank | str) -> tuple[str, MemoryBank]:
    if isinstance(bank, str):
        return bank, load_memory_bank(dataset, bank)
    return saved_name(dataset, bank) or f"unsaved_{bank_digest(bank)}", bank
