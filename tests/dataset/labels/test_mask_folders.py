"""Files of masks outlive what is done to the field that they were written for."""

from pathlib import Path

import pytest

from ntt_plugin.dataset.segmentation.segment import segment

pytestmark = pytest.mark.usefixtures("two_banks")


@pytest.fixture
def into(dataset, segmenter, tmp_path):
    """Run a bank, by default into the field that the others were run into."""

    def run(bank="blocks", field="ntt", samples=dataset, **options):
        defaults = {"mask_dir": tmp_path / "masks", "segmenter": segmenter, "progress": False}
        return segment(samples, bank, field, **{**defaults, **options})

    return run


def masks(dataset, field="ntt"):
    return [
        [(label.label, label.get_mask().tobytes()) for label in sample[field].detections]
        for sample in dataset
        if sample[field]
    ]


def stop_after_two(into):
    def stop(bar):
        if bar.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        into(progress=stop)


def test_a_renamed_field_keeps_its_masks_when_its_old_name_is_used_again(dataset, into):
    into()
    dataset.rename_sample_field("ntt", "old")
    before = masks(dataset, "old")
    into("others")
    dataset.reload()
    assert masks(dataset, "old") == before


def test_a_cloned_field_keeps_its_masks_when_the_first_is_overwritten(dataset, into):
    into()
    dataset.clone_sample_field("ntt", "copy")
    before = masks(dataset, "copy")
    into("others", overwrite=True)
    dataset.reload()
    assert masks(dataset, "copy") == before != masks(dataset)


def test_a_field_keeps_its_masks_when_its_clone_is_overwritten(dataset, into):
    into()
    dataset.clone_sample_field("ntt", "copy")
    before = masks(dataset)
    into("others", "copy", overwrite=True)
    dataset.reload()
    assert masks(dataset) == before != masks(dataset, "copy")


@pytest.mark.parametrize("which", ["the dataset", "its clone"])
def test_a_cloned_dataset_and_the_first_keep_their_masks(dataset, into, which):
    into()
    clone = dataset.clone()
    try:
        kept, run_on = (clone, dataset) if which == "the dataset" else (dataset, clone)
        before = masks(kept)
        into("others", samples=run_on, overwrite=True)
        kept.reload()
        assert masks(kept) == before
    finally:
        clone.delete()


def test_the_field_of_a_stopped_run_may_be_renamed_as_well(dataset, into):
    stop_after_two(into)
    dataset.rename_sample_field("ntt", "old")
    before = masks(dataset, "old")
    into("others")
    dataset.reload()
    assert len(before) == 2 and masks(dataset, "old") == before


def test_a_clone_of_a_stopped_runs_field_goes_on_for_itself(dataset, into):
    stop_after_two(into)
    dataset.clone_sample_field("ntt", "copy")
    into("blocks", "copy")
    before = masks(dataset, "copy")
    into()
    assert masks(dataset) == before
    first, second = (
        set(dataset.skip(2).values(f"{field}.detections.mask_path", unwind=True))
        for field in ("ntt", "copy")
    )
    assert len(first) == len(second) == 12 and not first & second


def test_a_run_that_goes_on_uses_its_own_folder(dataset, into, tmp_path):
    stop_after_two(into)
    into()
    folders = {Path(path).parents[1] for path in dataset.distinct("ntt.detections.mask_path")}
    assert len(folders) == 1
    assert len(list((tmp_path / "masks").rglob("*.png"))) == 18


def test_a_finished_run_has_a_folder_of_its_own(dataset, into):
    into(samples=dataset.limit(2))
    into()
    folders = {Path(path).parents[1] for path in dataset.distinct("ntt.detections.mask_path")}
    assert len(folders) == 2
