"""Which recipe finds most on one's own images: with ground truth, or on the reference images."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from ...engine.bank.memory_bank import MemoryBank
from ...engine.images.load import shown_size
from ...engine.proposals.cache import AFTER_PROPOSALS
from ...engine.recipe import Recipe, recipe_of_text, text_of_recipe
from ...errors import DatasetError, NoFileHandlesError, NttError, RecipeError
from ...worker.tasks.cached_proposals import CachedProposals
from ...worker.tasks.networks import SegmenterLike
from ..banks.change_recipe import bank_for
from ..database.errors import database_errors
from ..evaluation.coco_metrics import export_coco, has_masks
from ..evaluation.exclusions import NOT_LABELLED, LeftOut, leave_out_missing, nothing_left
from ..networks import get_segmenter
from ..references.reference_images import (
    annotated_labels,
    bank_without,
    entries_here,
    held_with_copies,
)
from ..runtime.caching import Cache, usable_store
from ..runtime.progress_bar import Progress
from ..samples.checks import dataset_of, listed, quoted, require_classes, require_detections
from ..samples.sample_notes import SampleNote
from ..samples.views import all_images, image_view
from ..segmentation.segment import bank_with_classes
from .recipe_scores import Figures, KnownObjects, RecipeScores
from .recipe_trials import Trial, TrialImages, TrialReport, try_recipes

# More reference images tell little more, and their proposals may have to be computed.
_MOST_IMAGES = 200
# Differences that are none. A recipe that changes nothing must not win by a busy machine's times.
_SAME_AP = 0.0005
_SAME_TIME = 1.2


@dataclass(frozen=True)
class RecipeResult:
    """What one recipe did.

    Attributes:
        name: the recipe as it was given, in words.
        recipe: the recipe.
        figures: how well it found the known objects; None if it could not be tried.
        seconds: of computation an image, on this machine, with nothing kept.
        problem: why it could not be tried; empty if it was.
    """

    name: str
    recipe: Recipe
    figures: Figures | None = None
    seconds: float = 0.0
    problem: str = ""


@dataclass
class RecipeComparison:
    """What ``compare_recipes`` found.

    Attributes:
        bank: the bank's name.
        gt_field: the field of ground truth; None if the bank's own references were found again.
        images: number of images that the figures are of: those that every recipe measured saw.
        results: a result for each recipe, in the order given.
        failed: images that could not be used, each with the reason.
        notes: what a person should know, a sentence each.
    """

    bank: str
    gt_field: str | None
    images: int = 0
    results: list[RecipeResult] = field(default_factory=list)
    failed: list[SampleNote] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def best(self) -> RecipeResult:
        """The result with the highest AP; of equal ones the first that is not clearly slower."""
        tried = [(one.figures.ap, one) for one in self.results if one.figures is not None]
        highest = max(ap for ap, _ in tried)
        equal = [one for ap, one in tried if ap >= highest - _SAME_AP]
        fastest = min(one.seconds for one in equal)
        return next(one for one in equal if one.seconds <= _SAME_TIME * fastest)


Recipes = Mapping[str, str | Recipe] | Iterable[str | Recipe]


@database_errors("nothing was changed; start again when it is back.")
def compare_recipes(
    samples: Any,
    bank: MemoryBank | str | Path,
    recipes: Recipes,
    gt_field: str | None = None,
    device: str | torch.device | None = None,
    progress: Progress = None,
    *,
    group_slices: str | Iterable[str] | None = None,
    cache: Cache = True,
) -> RecipeComparison:
    """Measure recipes on your own images: which finds most, and how long each takes.

    With ground truth each recipe gets COCO's AP on the samples. Without, each image that holds
    references of the bank is matched with a bank that lacks the references of that image, and of
    its copies, and the recipe is measured by how well it finds them again. These images need not
    be annotated whole: predictions that lie on nothing annotated are passed over, so that this AP
    is higher than one with ground truth, and good for comparing only. 200 images at most are looked
    at.

    Recipes whose proposals are the same share them, and kept ones are used. A recipe with another
    encoder or context ratio learns the bank's references again from their labels. An image that
    one of them could not use counts for none. No label, field or bank is changed.

    Args:
        samples: a dataset or view of images; without ground truth only its dataset counts.
        bank: a memory bank, the name of a saved one, or its file.
        recipes: recipes, presets' names, or texts such as ``"own tile=1024"`` (``own`` is the
            bank's own recipe) or ``"fast rescoring=diffusion"``; or these by names of your own.
        gt_field: ground truth, ``Detections``; its classes that the bank has are scored.
        device: where to run; the best there is if None.
        progress: FiftyOne's: True, False, a callback, or None for the configured default.
        group_slices: slices to take of a grouped dataset; its active one if None.
        cache: as for ``segment``.

    Returns:
        A result for each recipe, and which is the best; ``change_recipe`` makes it the bank's.

    Raises:
        DatasetError: there is no such bank or field, nothing to measure on, or none of the
            recipes can be tried or finds an image that it can use.
        RecipeError: one is no recipe, or a text is none.

    Example:
        >>> found = ntt.compare_recipes(
        ...     dataset, "animals", ["own", "own rescoring=diffusion"], gt_field="ground_truth"
        ... )
        >>> found.images, [result.name for result in found.results]
        (4, ['own', 'own rescoring=diffusion'])
        >>> 0 <= found.best.figures.ap <= 1
        True
    """
    images = image_view(samples, group_slices)
    name, loaded = bank_with_classes(images, bank, None)
    wanted = _named(recipes, loaded.recipe)
    found = RecipeComparison(name, gt_field)
    if gt_field is None:
        task = _reference_images(dataset_of(images), name, loaded, found)
    else:
        task = _labelled_images(images, name, loaded, gt_field, progress, found)
    store, notes = usable_store(cache)
    found.notes += notes
    results: dict[str, RecipeResult] = {}
    tried: list[tuple[Trial, TrialReport]] = []
    for group in _sharing_proposals(wanted):
        segmenter, trials = _prepared(images, loaded, group, device, task, results, found)
        if segmenter is not None:
            cached = CachedProposals(segmenter, store)
            report = try_recipes(task, trials, segmenter, cached, progress)
            found.failed += [one for one in report.failed if one not in found.failed]
            found.notes += [note for note in report.notes if note not in found.notes]
            tried += [(trial, report) for trial in trials]
    results |= _measured(tried, task, found)
    found.results = [results[name] for name in wanted]
    if all(result.figures is None for result in found.results):
        raise DatasetError(f"None of the recipes can be tried. {found.results[0].problem}")
    return found


def _measured(
    tried: Sequence[tuple[Trial, TrialReport]], task: TrialImages, found: RecipeComparison
) -> dict[str, RecipeResult]:
    """The results of trials, all on the same images: those that each trial could use.

    Raises:
        DatasetError: there is no such image, or none of them holds an object that is known.
    """
    results = {}
    able = [one for one in tried if one[0].scores.images]
    for trial, report in tried:
        if not trial.scores.images:
            problem = f"It could not use any image. {_first_reason(report.failed)}".rstrip()
            results[trial.name] = RecipeResult(trial.name, trial.recipe, problem=problem)
    if not able:
        return results
    common = set.intersection(*(trial.scores.images for trial, _ in able))
    if not any(task.known.objects(number) for number in common):
        raise DatasetError(
            f"Nothing can be measured: of {len(task.numbers)} images {len(common)} could be used "
            "by every recipe, without a known object in them. "
            f"{_first_reason(found.failed)}".rstrip()
        )
    found.images = len(common)
    for trial, report in able:
        each = report.seconds + mean(trial.matching)
        figures = trial.scores.figures(common)
        results[trial.name] = RecipeResult(trial.name, trial.recipe, figures, each)
    return results


def _first_reason(failed: Sequence[SampleNote]) -> str:
    return f"The first that failed, {failed[0].filepath}: {failed[0].reason}" if failed else ""


def _named(recipes: Recipes, own: Recipe) -> dict[str, Recipe]:
    """The recipes by their names, each once.

    Raises:
        RecipeError: one is no recipe, a name is no text, or two recipes have one name.
    """
    given: Iterable[tuple[Any, Any]]
    if isinstance(recipes, Mapping):
        given = recipes.items()
    else:
        alone = isinstance(recipes, (str, bytes, Recipe)) or not isinstance(recipes, Iterable)
        each: Iterable[Any] = [recipes] if alone else recipes
        given = [(text_of_recipe(one) if isinstance(one, Recipe) else one, one) for one in each]
    named: dict[str, Recipe] = {}
    for name, one in given:
        recipe = one if isinstance(one, Recipe) else recipe_of_text(one, own)
        if not isinstance(name, str) or not name.strip():
            raise RecipeError(f"{quoted(name)} is no name of a recipe; give a text.")
        if named.setdefault(name, recipe) != recipe:
            raise RecipeError(
                f"Two different recipes are called {quoted(name)}; give them names of your own: "
                '{"one": ..., "other": ...}.'
            )
    if not named:
        raise DatasetError("There is no recipe to try; name two or more.")
    return named


def _sharing_proposals(recipes: Mapping[str, Recipe]) -> list[dict[str, Recipe]]:
    """The recipes in groups whose proposals are the same; those with equal networks in a row."""
    groups: dict[str, dict[str, Recipe]] = defaultdict(dict)
    for name, recipe in recipes.items():
        fields = {key: value for key, value in asdict(recipe).items() if key not in AFTER_PROPOSALS}
        if recipe.tile is None:
            del fields["tile_overlap"]
        groups[repr((recipe.networks, sorted(fields.items())))][name] = recipe
    return [groups[key] for key in sorted(groups)]


def _reference_images(
    dataset: Any, name: str, bank: MemoryBank, found: RecipeComparison
) -> TrialImages:
    """The images of the bank's references, with the labels that can be found again."""
    held = entries_here(dataset, bank)
    lacks = held_with_copies(dataset, held)
    chosen = sorted(held)
    if len(chosen) > _MOST_IMAGES:
        chosen = sorted(random.Random(0).sample(chosen, _MOST_IMAGES))
        found.notes.append(f"{_MOST_IMAGES} of the {len(held)} images with references were used.")
    known = KnownObjects.empty(bank.classes)
    numbers: dict[str, int] = {}
    images = all_images(dataset).select(chosen)
    for sample_id, filepath in zip(*images.values(["id", "filepath"]), strict=True):
        entries = held[sample_id]
        rest = bank_without(bank, lacks[sample_id])
        try:
            annotated = annotated_labels(dataset, sample_id, filepath, entries)
            size = shown_size(filepath)
        except NoFileHandlesError:
            raise
        except NttError as error:
            found.failed.append(SampleNote(sample_id, filepath, str(error)))
            continue
        numbers[sample_id] = len(numbers) + 1
        # What only this image shows cannot be found without it.
        known.add(
            numbers[sample_id],
            size,
            [
                one if one.label in rest.classes else replace(one, negative=True)
                for one in annotated
            ],
        )
    if not known.truth["annotations"]:
        raise DatasetError(
            f"The memory bank {name!r} cannot be measured on its own references: no class has "
            f"references in two images of {dataset.name!r} or more (copies of one count once). "
            "Give gt_field, or add references in other images."
        )
    return TrialImages(images.select(list(numbers)), known, numbers, lacks)


def _labelled_images(
    images: Any,
    name: str,
    bank: MemoryBank,
    gt_field: str,
    progress: Progress,
    found: RecipeComparison,
) -> TrialImages:
    """The samples in which ground truth was written."""
    require_detections(images, gt_field)
    left_out = LeftOut()
    labelled = leave_out_missing(images, {gt_field: NOT_LABELLED}, left_out)
    if left_out.samples and not labelled.limit(1).values("id"):
        raise nothing_left(images, images, [gt_field])
    held = require_classes(labelled, [f"{gt_field}.detections"], None)
    classes = [label for label in bank.classes if label in held]
    if not classes:
        raise DatasetError(
            f"The field {gt_field!r} holds no label of a class of the memory bank {name!r}; it "
            f"holds {listed(held) or 'none'}, and the bank's classes are {listed(bank.classes)}."
        )
    masks = has_masks(labelled, gt_field)
    tables = export_coco(labelled, None, gt_field, classes, masks, progress, left_out)
    # Image ids count the samples in the view's order.
    numbers = {sample_id: number for number, sample_id in enumerate(labelled.values("id"), 1)}
    readable = {image["id"] for image in tables.ground_truth["images"]}
    numbers = {sample_id: number for sample_id, number in numbers.items() if number in readable}
    if not tables.ground_truth["annotations"]:
        raise DatasetError(f"None of the labels in {gt_field!r} can be scored. {left_out}")
    found.notes += str(left_out).splitlines()
    if not masks:
        found.notes.append(f"The labels in {gt_field!r} have no masks: boxes are scored.")
    shown = set(entries_here(dataset_of(images), bank)) & set(numbers)
    if shown:
        found.notes.append(
            f"{len(shown)} of the {len(numbers)} images hold references of the bank, which are "
            "easy to find there; choose a view without them."
        )
    return TrialImages(labelled, KnownObjects(tables.ground_truth, masks, whole=True), numbers)


def _prepared(
    images: Any,
    bank: MemoryBank,
    group: Mapping[str, Recipe],
    device: str | torch.device | None,
    task: TrialImages,
    results: dict[str, RecipeResult],
    found: RecipeComparison,
) -> tuple[SegmenterLike | None, list[Trial]]:
    """A group's segmenter and trials; recipes that cannot be tried get their result at once."""
    segmenter, trials = None, []
    for name, recipe in group.items():
        try:
            loaded = get_segmenter(recipe, device)
            own, left_out = bank_for(dataset_of(images), bank, loaded)
        except NoFileHandlesError:
            raise
        except NttError as error:
            results[name] = RecipeResult(name, recipe, problem=str(error))
            continue
        if left_out:
            found.notes.append(
                f"{name}: {len(left_out)} of the bank's references could not be learnt again, so "
                f"it was tried without them. {left_out[0]}"
            )
        segmenter = segmenter or loaded
        trials.append(Trial(name, recipe, own, RecipeScores(task.known)))
    return segmenter, trials
