"""The page at the end of Accept labels."""

import ntt_plugin as ntt
from tests.app.driver import page


def test_the_end_says_how_many_labels_are_still_to_review(plugin, dataset):
    items = ntt.review_queue(dataset, "ntt").items
    first = items[0]
    left = sum(item.sample == first.sample for item in items) - 1
    assert left > 0
    ntt.review_labels(dataset, "ntt", [first.key])
    params = {"label_field": "ntt", "into": "mine"}
    shown = page(plugin.run(dataset, "accept_labels", params))
    [note] = shown["problems"]
    assert note.startswith(f"1 image still holds {left} labels to review")
