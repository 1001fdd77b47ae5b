"""Recipes compared on images whose answer is known."""

import shutil
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import pytest
import torch

from ntt_plugin.dataset.banks import banks, change_recipe
from ntt_plugin.dataset.evaluation.evaluate import coco_figures, evaluate
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.dataset.suggestions import compare_recipes as compared
from ntt_plugin.dataset.suggestions.compare_recipes import (
    RecipeComparison,
    RecipeResult,
    compare_recipes,
)
from ntt_plugin.dataset.suggestions.recipe_scores import Figures
from ntt_plugin.engine.images.load import read_image, shown_size
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.errors import BankError, DatasetError, ImageError, RecipeError
from tests.dataset import scenes


class Engine(scenes.ColourSegmenter):
    """The engine by colours under any recipe; ``fast`` has an encoder of its own."""

    def __init__(self, recipe, upstream=None):
        super().__init__(digest="colours" if recipe.name != "fast" else "others")
        self.recipe = recipe
        self.upstream = upstream
        self.learnt = 0

    def reference_feature(self, reference):
        self.learnt += 1
        return super().reference_feature(reference)


@pytest.fixture
def engines(monkeypatch):
    """The engines that were asked for, by their recipe's name."""
    made = {}

    def get(recipe, device=None):
        engine = made.setdefault(recipe.name, Engine(recipe))
        engine.recipe = recipe
        return engine

    monkeypatch.setattr(compared, "get_segmenter", get)
    monkeypatch.setattr(change_recipe, "get_segmenter", get)
    return made


OWN = ["own", "own merge_exponent=2", "own rescoring=diffusion"]


def test_ap_with_ground_truth_is_that_of_a_run_that_is_evaluated(dataset, segmenter, bank, engines):
    recipe = replace(bank.recipe, nms_iou=0.0, max_instances=2)
    found = compare_recipes(dataset, "blocks", {"two": recipe}, "ground_truth", cache=False)
    two = scenes.ColourSegmenter(nms_iou=0.0, max_instances=2)
    segment(dataset, "blocks", "ntt", segmenter=two, cache=False)
    evaluate(dataset, "ntt", "ground_truth", "eval")
    assert found.results[0].figures.ap == pytest.approx(coco_figures(dataset, "eval").segm["AP"])
    assert 0 < found.results[0].figures.ap < 1


def test_recall_is_the_share_of_objects_that_are_found(dataset, bank, engines):
    found = compare_recipes(dataset, "blocks", ["own max_instances=2"], "ground_truth", cache=False)
    # Two of the three blocks of each image.
    figures = found.results[0].figures
    assert (figures.objects, figures.recall) == (18, pytest.approx(2 / 3))


def test_without_ground_truth_references_are_found_again_without_their_image(
    dataset, bank, engines
):
    found = compare_recipes(dataset, "blocks", OWN, cache=False)
    assert (found.images, [one.name for one in found.results]) == (6, OWN)
    for result in found.results:
        figures = result.figures
        assert (figures.objects, figures.recall, figures.confusions) == (18, 1.0, {})
        assert figures.ap > 0.9 and 0.9 < figures.mean_iou <= 1


def test_what_is_taken_for_another_class_is_told(dataset, segmenter, engines):
    first = dataset.first().id
    view = dataset.select(first)
    renamed = {"red": "green", "green": "red"}
    for sample in view.iter_samples(autosave=True):
        for label in sample.ground_truth.detections:
            label.label = renamed.get(label.label, label.label)
    banks.build_memory_bank(dataset, "ground_truth", "swapped", segmenter=segmenter)
    found = compare_recipes(dataset, "swapped", ["own"], cache=False)
    figures = found.results[0].figures
    assert figures.confusions == {("green", "red"): 1, ("red", "green"): 1}
    assert figures.recall == pytest.approx(16 / 18)


def test_a_class_with_references_in_one_image_is_not_looked_for(dataset, segmenter, engines):
    view = dataset.limit(1)
    for sample in view.iter_samples(autosave=True):
        sample.ground_truth.detections[0].label = "rare"
    banks.build_memory_bank(dataset, "ground_truth", "odd", segmenter=segmenter)
    found = compare_recipes(dataset, "odd", ["own"], cache=False)
    assert found.results[0].figures.objects == 17


def test_a_bank_of_one_image_needs_ground_truth(dataset, segmenter, engines):
    banks.build_memory_bank(dataset.limit(1), "ground_truth", "one", segmenter=segmenter)
    with pytest.raises(DatasetError, match="Give gt_field"):
        compare_recipes(dataset, "one", ["own"])


def test_recipes_with_the_same_proposals_share_them(dataset, bank, engines):
    compare_recipes(dataset, "blocks", OWN, "ground_truth", cache=False)
    assert engines["tiny"].proposed == len(dataset)


def test_kept_proposals_are_used_and_the_time_is_measured_all_the_same(
    dataset, bank, engines, tmp_path
):
    engines["tiny"] = Engine(bank.recipe, upstream="colours")
    kept = ProposalStore(tmp_path / "kept")
    compare_recipes(dataset, "blocks", ["own"], "ground_truth", cache=kept)
    before = engines["tiny"].proposed
    found = compare_recipes(dataset, "blocks", ["own"], "ground_truth", cache=kept)
    assert engines["tiny"].proposed == before + 2
    assert found.results[0].seconds > 0


def test_another_encoder_learns_the_references_again(dataset, bank, engines):
    found = compare_recipes(dataset, "blocks", ["own", "fast"], "ground_truth", cache=False)
    assert engines["fast"].learnt == 18
    assert engines["tiny"].learnt == 0
    one, other = (result.figures for result in found.results)
    assert one == other


def test_a_recipe_that_cannot_be_tried_says_why(dataset, bank, engines, monkeypatch):
    for sample in dataset.iter_samples(autosave=True):
        sample["truth"] = sample["ground_truth"].copy()
        sample["ground_truth"] = None
    found = compare_recipes(dataset, "blocks", ["own", "fast"], "truth", cache=False)
    assert found.results[0].problem == ""
    assert "None of the bank's references can be learnt again" in found.results[1].problem
    assert found.best.name == "own"


def test_nothing_is_written(dataset, bank, engines):
    before = dataset.to_dict(include_private=True), banks.load_memory_bank(dataset, "blocks")
    compare_recipes(dataset, "blocks", OWN, "ground_truth", cache=False)
    compare_recipes(dataset, "blocks", OWN, cache=False)
    dataset.reload()
    after = dataset.to_dict(include_private=True), banks.load_memory_bank(dataset, "blocks")
    assert before[0]["samples"] == after[0]["samples"]
    assert before[1].to_bytes() == after[1].to_bytes()
    assert set(dataset.get_field_schema()) == set(fo.Dataset().get_field_schema()) | {
        "ground_truth"
    }


def test_images_that_hold_references_are_told(dataset, segmenter, engines):
    banks.build_memory_bank(dataset.limit(2), "ground_truth", "two", segmenter=segmenter)
    found = compare_recipes(dataset, "two", ["own"], "ground_truth", cache=False)
    assert any("2 of the 6 images hold references" in note for note in found.notes)


def test_boxes_alone_are_scored_as_boxes(dataset, bank, engines):
    for sample in dataset.iter_samples(autosave=True):
        boxes = [
            fo.Detection(label=one.label, bounding_box=one.bounding_box)
            for one in sample.ground_truth.detections
        ]
        sample["boxes"] = fo.Detections(detections=boxes)
    found = compare_recipes(dataset, "blocks", ["own"], "boxes", cache=False)
    assert found.results[0].figures.ap > 0.9
    assert any("boxes are scored" in note for note in found.notes)


def test_an_image_that_cannot_be_read_is_named(dataset, bank, engines):
    path = dataset.first().filepath
    with open(path, "wb") as file:
        file.write(b"no image")
    found = compare_recipes(dataset, "blocks", ["own"], cache=False)
    assert [one.filepath for one in found.failed] == [path]
    assert found.images == 5


def cut_short(sample):
    """Damage an image so that its header can be read and its pixels cannot."""
    path = Path(sample.filepath)
    path.write_bytes(path.read_bytes()[:70])
    assert shown_size(path) == scenes.SIZE
    with pytest.raises(ImageError):
        read_image(path)


# With two instances an image the figures of each image differ.
POOR = ["own max_instances=2"]


@pytest.mark.parametrize("gt_field", ["ground_truth", None])
def test_an_image_cut_short_counts_for_no_figure(gt_field, dataset, bank, engines):
    last = dataset.last()
    cut_short(last)
    found = compare_recipes(dataset, "blocks", POOR, gt_field, cache=False)
    assert [one.filepath for one in found.failed] == [last.filepath]
    dataset.delete_samples([last.id])
    without = compare_recipes(dataset, "blocks", POOR, gt_field, cache=False)
    assert found.results[0].figures == without.results[0].figures
    assert found.images == without.images == 5
    assert found.results[0].figures.objects == 15


def test_an_image_that_one_recipe_cannot_use_counts_for_none(dataset, bank, engines, monkeypatch):
    class Failing(Engine):
        def propose(self, image, progress=None):
            if self.proposed == 2:
                self.proposed += 1
                raise ImageError("The third one is too much.")
            return super().propose(image)

    engines["fast"] = Failing(replace(bank.recipe, name="fast"))
    found = compare_recipes(dataset, "blocks", [*POOR, "fast"], "ground_truth", cache=False)
    assert found.images == 5 and len(found.failed) == 1
    assert [one.figures.objects for one in found.results] == [15, 15]
    dataset.delete_samples([found.failed[0].sample])
    without = compare_recipes(dataset, "blocks", POOR, "ground_truth", cache=False)
    assert found.results[0].figures == without.results[0].figures


def test_a_recipe_that_can_use_no_image_has_no_figures(dataset, bank, engines):
    class Failing(Engine):
        def propose(self, image, progress=None):
            raise ImageError("It is too much.")

    engines["fast"] = Failing(replace(bank.recipe, name="fast"))
    found = compare_recipes(dataset, "blocks", ["own", "fast"], "ground_truth", cache=False)
    assert found.images == 6 and found.best.name == "own"
    assert found.results[1].figures is None and "It is too much." in found.results[1].problem


@pytest.mark.parametrize("gt_field", ["ground_truth", None])
def test_no_image_that_can_be_read_is_an_error(gt_field, dataset, bank, engines):
    for sample in dataset:
        cut_short(sample)
    with pytest.raises(DatasetError, match=r"could not use any image.*The first that failed"):
        compare_recipes(dataset, "blocks", OWN, gt_field, cache=False)


def test_no_object_in_the_images_that_can_be_read_is_an_error(dataset, bank, engines):
    cut_short(dataset.first())
    for sample in dataset.skip(1).iter_samples(autosave=True):
        sample["ground_truth"] = fo.Detections()
    with pytest.raises(DatasetError, match=r"5 could be used.*without a known object"):
        compare_recipes(dataset, "blocks", ["own"], "ground_truth", cache=False)


@pytest.mark.parametrize("copied", [False, True])
def test_a_bank_lacks_the_references_of_an_images_copies_too(
    copied, dataset, segmenter, engines, tmp_path
):
    first, second = dataset.first(), dataset.skip(1).first()
    # Nothing but its own picture knows the class of an image's block.
    for sample, name in ((first, "one"), (second, "two")):
        sample.ground_truth.detections[0].label = name
        sample.save()
    twin = first.copy()
    if copied:
        twin.filepath = str(shutil.copy(first.filepath, tmp_path / "copy.png"))
    dataset.add_sample(twin)
    banks.build_memory_bank(dataset, "ground_truth", "twins", segmenter=segmenter)
    found = compare_recipes(dataset, "twins", ["own"], cache=False)
    # The copies' two other blocks are looked for; neither block of a class of its own is.
    assert found.images == 7
    assert found.results[0].figures.objects == 7 * 3 - 3


@pytest.mark.parametrize(("seconds", "best"), [(3, "fast"), (1.1, "first"), (0.5, "first")])
def test_of_those_with_the_highest_ap_the_best_is_the_first_that_is_not_slower(seconds, best):
    def result(name, ap, seconds):
        return RecipeResult(name, Recipe(), Figures(ap, 1.0, 1.0, 9, {}), seconds)

    results = [result("first", 0.5, seconds), result("fast", 0.5, 1), result("poor", 0.4, 0.1)]
    failed = RecipeResult("none", Recipe(), problem="It cannot.")
    assert RecipeComparison("blocks", None, 9, [*results, failed]).best.name == best


@pytest.mark.parametrize("recipes", [[], {}])
def test_no_recipe_is_an_error(dataset, bank, recipes):
    with pytest.raises(DatasetError, match="name two or more"):
        compare_recipes(dataset, "blocks", recipes)


def test_recipes_of_one_name_that_is_no_presets_are_all_measured(dataset, bank, engines):
    mine = replace(bank.recipe, name="mine", max_instances=2)
    recipes = [mine, replace(mine, max_instances=3), mine]
    found = compare_recipes(dataset, "blocks", recipes, "ground_truth", cache=False)
    names = [one.name for one in found.results]
    assert [one.recipe for one in found.results] == recipes[:2]
    assert ["max_instances=2" in name for name in names] == [True, False]
    assert ["max_instances=3" in name for name in names] == [False, True]
    assert found.results[0].figures.ap < found.results[1].figures.ap


def test_two_recipes_that_would_have_one_name_are_an_error(dataset, bank):
    with pytest.raises(RecipeError, match=r"Two different recipes are called 'own'.*of your own"):
        compare_recipes(dataset, "blocks", ["own", Recipe(name="own")])


@pytest.mark.parametrize(
    "recipes", [None, 5, b"own", [None], [3], [["own"]], {"a": None}, {"a": 3}, {3: "own"}]
)
def test_what_is_no_recipe_is_an_error(recipes, dataset, bank):
    with pytest.raises(RecipeError, match=r"is no recipe; give|is no name of a recipe"):
        compare_recipes(dataset, "blocks", recipes)


def test_an_unknown_recipe_is_an_error(dataset, bank):
    with pytest.raises(RecipeError, match="no preset 'huge'"):
        compare_recipes(dataset, "blocks", ["huge"])


def test_ground_truth_of_other_classes_is_an_error(dataset, bank, engines):
    for sample in dataset.iter_samples(autosave=True):
        sample["other"] = fo.Detections(
            detections=[fo.Detection(label="cow", bounding_box=[0, 0, 0.5, 0.5])]
        )
    with pytest.raises(DatasetError, match="no label of a class"):
        compare_recipes(dataset, "blocks", ["own"], "other")


def test_a_bank_with_another_recipe_keeps_its_ids_and_thresholds(dataset, bank, engines):
    bank.set_thresholds({"red": 0.4})
    banks.save_memory_bank(dataset, "blocks", bank, overwrite=True)
    change = change_recipe.change_recipe(dataset, "blocks", "own tile=64")
    after = banks.load_memory_bank(dataset, "blocks")
    assert after.recipe == replace(bank.recipe, tile=64) == change.recipe
    assert [one.stored.id for one in after.entries()] == [one.stored.id for one in bank.entries()]
    assert after.thresholds == {"red": 0.4} and change.notes
    assert after.version == bank.version + 1 == change.version
    assert change.learnt_again == 0


def test_a_bank_with_another_encoder_is_learnt_again(dataset, bank, engines):
    change = change_recipe.change_recipe(dataset, "blocks", "fast")
    after = banks.load_memory_bank(dataset, "blocks")
    assert change.learnt_again == 18
    after.require_encoder(engines["fast"].fingerprint)
    for before, now in zip(bank.entries(), after.entries(), strict=True):
        assert before.label == now.label
        assert torch.equal(before.stored.feature, now.stored.feature)


def test_a_bank_that_would_lose_a_class_stays(dataset, bank, engines):
    for sample in dataset.iter_samples(autosave=True):
        kept = [one for one in sample.ground_truth.detections if one.label != "red"]
        sample["ground_truth"] = fo.Detections(detections=kept)
    with pytest.raises(Exception, match="would lose the class 'red'"):
        change_recipe.change_recipe(dataset, "blocks", "fast")
    assert banks.load_memory_bank(dataset, "blocks").to_bytes() == bank.to_bytes()


def test_features_of_another_encoder_are_asked_for(bank):
    from ntt_plugin.engine.bank.recipe_change import with_recipe

    other = replace(bank.fingerprint, digest="others")
    with pytest.raises(BankError, match="made by the encoder"):
        with_recipe(bank, bank.recipe, other)
    with pytest.raises(BankError, match="None of the bank's references"):
        with_recipe(bank, bank.recipe, other, {})


def test_a_prediction_on_nothing_annotated_is_passed_over(dataset, segmenter, engines):
    # Only the red and green blocks are annotated: the blue ones may be right.
    banks.build_memory_bank(dataset, "ground_truth", "all", segmenter=segmenter)
    whole = compare_recipes(dataset, "all", ["own"], cache=False).results[0].figures
    bank = banks.load_memory_bank(dataset, "all")
    blue = [one.stored for one in bank.entries() if one.label == "blue"]
    for stored in blue[:-2]:
        bank.remove_reference(stored.id)
    banks.save_memory_bank(dataset, "some", bank)
    some = compare_recipes(dataset, "some", ["own"], cache=False).results[0].figures
    assert some.objects == 14
    assert some.ap == pytest.approx(whole.ap, abs=0.1) and np.isclose(some.recall, 1)
