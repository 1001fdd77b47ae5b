"""A bank tried on a few images: as a run would find it, and nothing is written."""

import numpy as np
import pytest

from ntt_plugin.dataset.review.try_bank import try_bank
from ntt_plugin.dataset.runtime.caching import ProposalStore
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.errors import DatasetError


def test_it_finds_what_a_run_finds_and_writes_nothing(dataset, bank, segmenter):
    before = [sample.to_dict() for sample in dataset]
    fields, runs = dataset.get_field_schema(), dataset.list_runs()
    trial = try_bank(dataset, "blocks", 3, seed=1, segmenter=segmenter)
    assert [sample.to_dict() for sample in dataset] == before
    assert (dataset.get_field_schema(), dataset.list_runs()) == (fields, runs)
    segment(dataset, "blocks", "ntt", segmenter=segmenter)
    assert len(trial.images) == 3
    for image in trial.images:
        labels = dataset[image.sample]["ntt"].detections
        assert image.instances.labels == [label.label for label in labels]
        assert image.instances.scores.tolist() == [label.confidence for label in labels]
        for mask, label in zip(image.instances.masks, labels, strict=True):
            assert (np.asarray(mask) == label.mask).all()


def test_the_later_run_computes_no_proposals_again(dataset, bank, segmenter, tmp_path):
    segmenter.upstream = "colours"
    store = ProposalStore(tmp_path / "kept")
    trial = try_bank(dataset, "blocks", 4, segmenter=segmenter, cache=store)
    view = dataset.select([image.sample for image in trial.images])
    proposed = segmenter.proposed
    segment(view, "blocks", "ntt", segmenter=segmenter, cache=store)
    assert (proposed, segmenter.proposed) == (4, 4)


def test_others_are_others(dataset, bank, segmenter):
    tried = []
    for _ in range(2):
        trial = try_bank(dataset, "blocks", 3, exclude=tried, segmenter=segmenter)
        tried += [image.sample for image in trial.images]
    assert sorted(tried) == sorted(dataset.values("id"))
    with pytest.raises(DatasetError, match="tried already"):
        try_bank(dataset, "blocks", exclude=tried, segmenter=segmenter)


def test_a_seed_gives_the_same_images(dataset, bank, segmenter):
    one, other = (try_bank(dataset, "blocks", 2, seed=7, segmenter=segmenter) for _ in range(2))
    assert [i.sample for i in one.images] == [i.sample for i in other.images]


def test_a_bad_image_is_named_and_stops_nothing(dataset, bank, segmenter):
    sample = dataset.first()
    with open(sample.filepath, "wb") as file:
        file.write(b"no image")
    trial = try_bank(dataset, "blocks", 6, segmenter=segmenter)
    assert [note.sample for note in trial.failed] == [sample.id]
    assert len(trial.images) == 5
