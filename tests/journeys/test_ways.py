"""The same way through what people do to fields and views in between."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import numpy as np
import pytest

import ntt_plugin as ntt
from tests.journeys import way
from tests.journeys.files import Photo, write_photos
from tests.journeys.formats import FILE_KINDS
from tests.journeys.judge import Answers
from tests.journeys.labels import FIELD, add_plain_masks, plain_masks, with_field


@pytest.fixture
def photos(folder: Path) -> list[Photo]:
    """Both scenes as plain PNG files."""
    return write_photos(FILE_KINDS[0], 1, "square", "plain", folder)


@pytest.fixture
def dataset(photos: list[Photo]) -> Iterator[fo.Dataset]:
    """Both scenes with masks."""
    made = with_field(photos, plain_masks)
    add_plain_masks(made, photos)
    yield made
    made.delete()


@pytest.fixture
def right(answers: Answers) -> way.Record:
    """What the way gives without anything in between."""
    return answers.of("rgb", "square")


@pytest.fixture
def segmented(dataset: fo.Dataset, segmenter: Any, right: way.Record) -> fo.Dataset:
    """The target is segmented with the right bank."""
    target = dataset.match_tags("target")
    ntt.segment(target, right.bank, way.FOUND, segmenter=segmenter, cache=False, progress=False)
    return dataset


def test_spellings_of_no_crowd_change_nothing(
    dataset: fo.Dataset, segmenter: Any, right: way.Record
) -> None:
    spellings = ["0", "False", "no", "false", "", None, 0, 0.0, False]
    for sample in dataset.iter_samples(autosave=True, progress=False):
        for index, label in enumerate(sample[FIELD].detections):
            label["iscrowd"] = str(spellings[index % len(spellings)])
    bank = way.build(dataset.match_tags("pool"), FIELD, segmenter)
    target = dataset.match_tags("target")
    assert way.segment(target, bank, segmenter, (256, 256))
    assert way.scores(target, FIELD, "crowds") == right.scores


@pytest.mark.parametrize("spelling", ["1", "True", "yes", 1, 1.0, True])
def test_a_crowd_in_any_spelling_is_refused_by_name(
    dataset: fo.Dataset, segmenter: Any, spelling: object
) -> None:
    for sample in dataset.iter_samples(autosave=True, progress=False):
        for label in sample[FIELD].detections:
            label["iscrowd"] = spelling
    with pytest.raises(way.RefusedByName, match="crowd"):
        way.build(dataset.match_tags("pool"), FIELD, segmenter)


def test_samples_never_segmented_or_labelled_are_left_out_and_named(
    segmented: fo.Dataset, photos: list[Photo], right: way.Record
) -> None:
    segmented.match_tags("pool").set_field(FIELD, None).save(FIELD)
    results = ntt.evaluate(segmented, way.FOUND, FIELD, "partial", progress=False)
    figures = ntt.coco_figures(segmented, "partial")
    assert figures.segm["AP"] == right.scores["segm AP"]
    assert figures.bbox["AP"] == right.scores["bbox AP"]
    pool = segmented.match_tags("pool").first()
    assert pool.id in ntt.LeftOut.from_dict(results.config.left_out).samples


def test_a_view_that_holds_a_sample_twice_counts_it_once(
    segmented: fo.Dataset, segmenter: Any, right: way.Record
) -> None:
    target = segmented.match_tags("target")
    twice = target.concat(target)
    assert len(twice) == 2
    assert way.scores(twice, FIELD, "twice") == right.scores
    report = ntt.segment(
        twice, right.bank, "again", segmenter=segmenter, cache=False, progress=False
    )
    assert (report.segmented, report.instances) == (1, len(right.found))


def test_references_of_a_view_that_holds_a_sample_twice_are_learnt_once(
    dataset: fo.Dataset, segmenter: Any, right: way.Record
) -> None:
    pool = dataset.match_tags("pool")
    bank = way.build(pool.concat(pool), FIELD, segmenter)
    assert {name: len(bank.references(name)) for name in bank.classes} == {
        name: len(feature) for name, feature in right.features.items()
    }


def test_corrected_masks_of_a_cloned_field_are_learnt(dataset: fo.Dataset, segmenter: Any) -> None:
    pool = dataset.match_tags("pool")
    way.build(pool, FIELD, segmenter)
    dataset.clone_sample_field(FIELD, "corrected")
    for sample in pool.iter_samples(autosave=True, progress=False):
        for label in sample["corrected"].detections:
            label.mask = np.roll(label.mask, label.mask.shape[1] // 2, axis=1)
    change = ntt.update_memory_bank(
        pool, "corrected", "journey", segmenter=segmenter, progress=False
    )
    assert change.already == 0
    assert sum(change.added.values()) == pool.count(f"{FIELD}.detections")


def test_a_label_left_out_of_a_cloned_field_stays_in_the_other(
    dataset: fo.Dataset,
) -> None:
    target = dataset.match_tags("target")
    dataset.clone_sample_field(FIELD, "second")
    for sample in target.iter_samples(autosave=True, progress=False):
        for index, label in enumerate(sample["second"].detections):
            label.confidence = 0.9
            label.mask = label.mask if index else None
    ntt.evaluate(target, "second", FIELD, "cloned", progress=False)
    assert dataset.sum("cloned_fn") == 1
    assert dataset.sum("cloned_tp") == target.count(f"{FIELD}.detections") - 1
