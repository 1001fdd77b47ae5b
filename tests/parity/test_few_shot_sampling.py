"""Recipe, section 7, against few_shot_sampling.json."""

from ntt_plugin.dataset.references.coco_few_shot import NOVEL_COCO_CLASSES, sample_few_shot


def category_ids(coco, classes):
    """Ids of the classes that an expected entry is about: a list of names, or a set's name."""
    names = NOVEL_COCO_CLASSES if classes == "few_shot_classes" else classes
    if names == "all_classes":
        return None
    ids = {category["name"]: category["id"] for category in coco["categories"]}
    return {ids[name] for name in names}


def test_references_are_equal_and_in_order(golden, close):
    content = golden("few_shot_sampling.json")
    assert content["expected"]
    for expected in content["expected"]:
        ours = sample_few_shot(
            content["coco"],
            shots=expected["shots"],
            seed=expected["seed"],
            category_ids=category_ids(content["coco"], expected["classes"]),
        )
        assert ours == expected["references"], f"seed {expected['seed']}, {expected['shots']} shots"
        differing = sum(a != b for a, b in zip(ours, expected["references"], strict=True))
        close("7 few-shot references that differ", differing, 0, tolerance=0)
