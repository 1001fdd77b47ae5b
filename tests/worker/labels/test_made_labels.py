"""By its digest a label tells whether it is still what a run made."""

import numpy as np
import pytest
from bson import ObjectId

from ntt_plugin.worker.labels.made_labels import label_digest, pack_made, read_made

MASK = np.eye(5, 9, dtype=bool)
BOX = [0.1, 0.2, 0.3, 0.4]


def test_ids_and_digests_come_back():
    made = {ObjectId(): label_digest(name, BOX, MASK) for name in "abc"}
    assert read_made(pack_made(made.items())) == {str(key): value for key, value in made.items()}
    assert len(pack_made(made.items())) == 24 * 3


@pytest.mark.parametrize(
    "changed",
    [
        ("b", BOX, MASK),
        (None, BOX, MASK),
        ("a", [0.1, 0.2, 0.3, 0.4 + 1e-9], MASK),
        ("a", [0.1, 0.2, 0.3], MASK),
        ("a", BOX, ~MASK),
        ("a", BOX, MASK.reshape(9, 5)),
        ("a", BOX, MASK[:4]),
        ("a", BOX, None),
    ],
)
def test_another_class_box_or_mask_has_another_digest(changed):
    assert label_digest(*changed) != label_digest("a", BOX, MASK)


@pytest.mark.parametrize("stored", [MASK.astype(np.uint8) * 255, MASK.astype(np.uint8)])
def test_the_pixels_count_and_not_how_they_are_stored(stored):
    assert label_digest("a", BOX, stored) == label_digest("a", BOX, MASK)


@pytest.mark.parametrize("text", ["", "?", "AAAA", "ä", None, 7])
def test_of_a_text_that_is_none_of_ours_nothing_is_known(text):
    assert read_made(text) == {}
