"""The page at the end of Estimate thresholds."""

import ntt_plugin as ntt
from tests.app.driver import page


def test_the_end_names_the_classes_whose_threshold_stays(plugin, dataset):
    ntt.build_memory_bank(dataset, "ground_truth", "all", preset="tiny")
    found = ntt.estimate_thresholds(dataset, "all", save=False)
    label = sorted(found.thresholds)[0]
    ntt.save_thresholds(dataset, "all", thresholds={label: 0.9})
    shown = page(plugin.run(dataset, "estimate_thresholds", {"bank": "all"}))
    [note] = [words for words in shown["problems"] if "keeps its threshold" in words]
    assert label in note and note.startswith("1 class ")
    assert ntt.get_memory_bank_info(dataset, "all").thresholds[label] == 0.9
