"""Labels accepted once more: corrections are carried over, what a person did to a copy stays."""

import fiftyone as fo
import numpy as np
import pytest
from PIL import Image

from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.review import accepted_record
from ntt_plugin.dataset.review.accept import accept_labels
from ntt_plugin.dataset.review.steps import review_labels
from ntt_plugin.dataset.segmentation.segment import segment
from tests.dataset.review.test_accept import labels_of
from tests.dataset.scenes import SIZE


@pytest.fixture
def accepted(reviewed):
    """Six approved labels of ``ntt`` in ``truth``; and the id of the first."""
    accept_labels(reviewed, "ntt", "truth")
    return reviewed, reviewed.first()["ntt"].detections[0].id


def edit(dataset, field, label_id, **values):
    """Change a label as the App does: the same id, other values."""
    dataset.reload()
    sample = dataset.match_labels(ids=[label_id], fields=field).first()
    sample = dataset[sample.id]
    for label in sample[field].detections:
        if label.id == label_id:
            for name, value in values.items():
                label[name] = value
    sample.save()


def left_side(label):
    """The mask and box of the left half of a label."""
    mask = full_mask(label, SIZE)
    columns = np.nonzero(mask.any(axis=0))[0]
    mask[:, int(columns.mean()) :] = False
    half = fo.Detection.from_mask(mask, label=label.label)
    return mask, {"mask": half.mask, "bounding_box": half.bounding_box}


def test_a_class_that_was_corrected_is_carried_over(accepted):
    dataset, label_id = accepted
    edit(dataset, "ntt", label_id, label="violet")
    done = accept_labels(dataset, "ntt", "truth")
    assert (done.updated, done.label_ids, done.already, done.notes[1:]) == ([label_id], [], 5, [])
    assert labels_of(dataset, "truth")[label_id].label == "violet"
    assert len(labels_of(dataset, "truth")) == 6


def test_a_class_changed_in_the_review_is_carried_over(accepted):
    dataset, label_id = accepted
    review_labels(dataset, "ntt", change={label_id: "violet"}, again=True)
    assert accept_labels(dataset, "ntt", "truth").updated == [label_id]
    assert labels_of(dataset, "truth")[label_id].label == "violet"


def test_a_mask_that_was_edited_is_carried_over_each_time(accepted):
    dataset, label_id = accepted
    for _ in range(2):
        mask, half = left_side(labels_of(dataset, "ntt")[label_id])
        edit(dataset, "ntt", label_id, **half)
        assert accept_labels(dataset, "ntt", "truth").updated == [label_id]
        assert (full_mask(labels_of(dataset, "truth")[label_id], SIZE) == mask).all()
        assert accept_labels(dataset, "ntt", "truth").updated == []


def test_tags_and_attributes_of_a_copy_stay(accepted):
    dataset, label_id = accepted
    edit(dataset, "truth", label_id, tags=["mine"], occluded=True)
    edit(dataset, "ntt", label_id, label="violet")
    assert accept_labels(dataset, "ntt", "truth").updated == [label_id]
    copy = labels_of(dataset, "truth")[label_id]
    assert (copy.label, copy.tags, copy["occluded"]) == ("violet", ["mine"], True)


def test_a_copy_that_a_person_changed_stays_and_is_noted(accepted):
    dataset, label_id = accepted
    edit(dataset, "truth", label_id, label="mine")
    assert accept_labels(dataset, "ntt", "truth").already == 6
    edit(dataset, "ntt", label_id, label="violet")
    done = accept_labels(dataset, "ntt", "truth")
    assert (done.updated, done.already) == ([], 5)
    assert any("1 labels were corrected" in note.reason for note in done.notes)
    assert labels_of(dataset, "truth")[label_id].label == "mine"


def test_a_copy_put_back_to_what_it_was_before_stays(accepted):
    dataset, label_id = accepted
    before = labels_of(dataset, "truth")[label_id].label
    edit(dataset, "ntt", label_id, label="violet")
    accept_labels(dataset, "ntt", "truth")
    edit(dataset, "truth", label_id, label=before)
    edit(dataset, "ntt", label_id, label="pink")
    assert accept_labels(dataset, "ntt", "truth").updated == []
    assert labels_of(dataset, "truth")[label_id].label == before


def test_a_copy_that_a_person_deleted_stays_away(accepted):
    dataset, label_id = accepted
    dataset.delete_labels(ids=[label_id], fields="truth")
    done = accept_labels(dataset, "ntt", "truth")
    assert (done.label_ids, done.already) == ([], 5)
    assert any("were deleted" in note.reason for note in done.notes)
    assert label_id not in labels_of(dataset, "truth")


def test_a_cleared_field_is_filled_again(accepted):
    dataset, _ = accepted
    dataset.clear_sample_field("truth")
    assert len(accept_labels(dataset, "ntt", "truth").label_ids) == 6


def test_a_new_field_of_a_deleted_ones_name_knows_nothing_of_it(accepted):
    dataset, _ = accepted
    dataset.delete_sample_field("truth")
    for sample in dataset.iter_samples(autosave=True):
        sample["truth"] = fo.Detections()
    assert len(accept_labels(dataset, "ntt", "truth").label_ids) == 6


def test_a_label_that_was_rejected_later_is_noted(accepted):
    dataset, label_id = accepted
    review_labels(dataset, "ntt", reject=[label_id], again=True)
    done = accept_labels(dataset, "ntt", "truth")
    assert any("1 labels that were accepted before are rejected" in n.reason for n in done.notes)
    assert label_id in labels_of(dataset, "truth")


def test_cleaning_changes_no_copy_whose_label_did_not_change(accepted):
    dataset, _ = accepted
    done = accept_labels(dataset, "ntt", "truth", clean=5)
    assert (done.updated, done.already) == ([], 6)


def test_a_cleaned_copy_counts_as_nobodys(reviewed):
    label_id = reviewed.first()["ntt"].detections[0].id
    whole = np.zeros(SIZE, bool)
    whole[10:30, 10:30] = True
    whole[20, 20] = False
    edit(reviewed, "ntt", label_id, mask=whole, bounding_box=[0, 0, 1, 1])
    accept_labels(reviewed, "ntt", "truth", clean=4)
    edit(reviewed, "ntt", label_id, label="violet")
    assert accept_labels(reviewed, "ntt", "truth", clean=4).updated == [label_id]


def test_without_a_record_a_copy_as_the_run_made_it_is_brought_up_to_date(accepted):
    """As after a kill before it was saved, or a field that has another name since."""
    dataset, label_id = accepted
    dataset.rename_sample_field("truth", "renamed")
    edit(dataset, "ntt", label_id, label="violet")
    done = accept_labels(dataset, "ntt", "renamed")
    assert (done.updated, done.already) == ([label_id], 5)


def test_without_a_record_any_other_copy_stays(accepted):
    dataset, label_id = accepted
    edit(dataset, "truth", label_id, label="mine")
    dataset.rename_sample_field("truth", "renamed")
    edit(dataset, "ntt", label_id, label="violet")
    done = accept_labels(dataset, "ntt", "renamed")
    assert done.updated == []
    assert labels_of(dataset, "renamed")[label_id].label == "mine"


def test_a_killed_record_loses_and_doubles_nothing(reviewed, monkeypatch):
    label_id = reviewed.first()["ntt"].detections[0].id
    with monkeypatch.context() as patch:
        patch.setattr(accepted_record.AcceptedRecord, "save", lambda self: None)
        accept_labels(reviewed, "ntt", "truth")
    assert accept_labels(reviewed, "ntt", "truth").already == 6
    edit(reviewed, "ntt", label_id, label="violet")
    assert accept_labels(reviewed, "ntt", "truth").updated == [label_id]
    assert len(labels_of(reviewed, "truth")) == 6


def test_an_updated_mask_in_a_file_gets_a_file_of_its_own(
    dataset, bank, segmenter, tmp_path, monkeypatch
):
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path / "fiftyone"))
    segment(dataset, "blocks", "ntt", segmenter=segmenter, mask_dir=tmp_path / "masks")
    ids = dataset.values("ntt.detections.id", unwind=True)
    review_labels(dataset, "ntt", ids)
    accept_labels(dataset, "ntt", "truth")
    former = labels_of(dataset, "truth")[ids[0]]
    with Image.open(former.mask_path) as image:
        mask = np.asarray(image) > 0
    mask = mask & (np.arange(mask.shape[1]) < mask.shape[1] // 2)
    source = labels_of(dataset, "ntt")[ids[0]]
    Image.fromarray(mask.astype(np.uint8) * 255).save(source.mask_path)
    assert accept_labels(dataset, "ntt", "truth").updated == [ids[0]]
    copy = labels_of(dataset, "truth")[ids[0]]
    assert copy.mask_path not in (former.mask_path, source.mask_path)
    with Image.open(copy.mask_path) as image:
        assert (np.asarray(image) > 0).sum() == mask.sum()
    assert not (tmp_path / former.mask_path).exists()
