"""Recipe, sections 3.6 to 5, against matching.npz and matching_negative.npz."""

import pytest
import torch
from pycocotools import mask as coco_mask

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.matching.match import best_class, compared_features, match, similarities
from ntt_plugin.engine.matching.nms import suppress
from ntt_plugin.engine.matching.soft_merging import redundancy
from ntt_plugin.engine.proposals.proposals import Proposals
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.engine.references import pool_reference

# pycocotools' own call of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def on_grid(patches):
    """Patch features (p, C) or weights (p,) as float (C, g, g) or (g, g)."""
    grid = round(len(patches) ** 0.5)
    return torch.from_numpy(patches).float().movedim(0, -1).unflatten(-1, (grid, grid))


class Case:
    """One file's inputs, and a bank and a recipe to match them with."""

    def __init__(self, arrays, bank, sigma=0.8):
        self.arrays, self.bank, self.sigma = arrays, bank, sigma
        self.proposals = Proposals.from_logits(
            torch.from_numpy(arrays["mask_logits"]).float(),
            torch.from_numpy(arrays["pred_ious"]),
            on_grid(arrays["feat"]),
            tuple(arrays["orig_size"].tolist()),
            bank.fingerprint,
        )
        self.similarity = similarities(compared_features(self.proposals), bank, sigma)
        self.labels, self.scores, _ = best_class(self.similarity)
        self.kept = suppress(
            self.proposals.boxes.numpy(),
            arrays["pred_ious"],
            self.labels,
            float(arrays["nms_thr"]),
        )

    def recipe(self, instances):
        return Recipe(
            nms_iou=float(self.arrays["nms_thr"]),
            max_instances=instances,
            negative_sigma=self.sigma,
        )

    def redundancy(self, instances):
        order = self.kept[: 8 * instances]
        order = order[self.scores[order] > 0]
        masks = [self.proposals.masks[index] for index in order]
        features = self.proposals.features.numpy()[order]
        found = redundancy(masks, features, self.labels[order])
        return found, order


@pytest.fixture(scope="module")
def plain(golden):
    arrays = golden("matching.npz")
    bank = MemoryBank(Fingerprint("golden", "0", 518, arrays["feat"].shape[1]))
    for label, shots in enumerate(zip(arrays["mem_feats"], arrays["mem_masks"], strict=True)):
        for patches, weights in zip(*shots, strict=True):
            bank.add(str(label), pool_reference(on_grid(patches), on_grid(weights)))
    return Case(arrays, bank)


@pytest.fixture(scope="module")
def negative(golden):
    arrays = golden("matching_negative.npz")
    bank = MemoryBank(Fingerprint("golden", "0", 518, arrays["feat"].shape[1]))
    for label, mean in enumerate(arrays["mem_feats_avg"]):
        bank.add(str(label), torch.from_numpy(mean))
    for label, shots in enumerate(zip(arrays["neg_feats"], arrays["neg_masks"], strict=True)):
        for patches, weights in zip(*shots, strict=True):
            bank.add_negatives(str(label), pool_reference(on_grid(patches), on_grid(weights)))
    return Case(arrays, bank, sigma=float(arrays["sigma"]))


@pytest.fixture(params=["plain", "negative"])
def case(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["plain a", "plain b", "negative a"])
def run(request):
    """A case, and the prefix of one of its expected results."""
    name, prefix = request.param.split()
    return request.getfixturevalue(name), prefix


def limit(case, prefix):
    key = f"{prefix}_num_out_instance"
    return int(case.arrays[key if key in case.arrays else "num_out_instance"])


def test_negative_features(negative, close):
    ours = [negative.bank.negatives(label).numpy() for label in negative.bank.classes]
    close("5 negative features", ours, negative.arrays["neg_feats_ins_avg"])


def test_similarities(case, close):
    close("4.1 similarities", case.similarity, case.arrays["sim"])


def test_labels_are_equal(case, close):
    close("4.1 labels", case.labels, case.arrays["mask_labels"], tolerance=0)


def test_low_resolution_boxes_are_equal(plain, close):
    close("4.2 low-resolution boxes", plain.proposals.boxes, plain.arrays["lr_boxes"], tolerance=0)


def test_kept_indices_are_equal_and_in_order(case, close):
    close("4.2 indices after NMS", case.kept, case.arrays["nms_keep"], tolerance=0)


def test_kept_indices_do_not_depend_on_the_number_of_instances(plain, close):
    close("4.2 indices after NMS", plain.kept, plain.arrays["b_nms_keep"], tolerance=0)


def test_redundancy(case, close):
    ours, order = case.redundancy(limit(case, "a"))
    assert case.labels[order].tolist() == case.arrays["merge_labels"].tolist()
    close("4.4 merging, d", ours, case.arrays["merge_ios"])


def test_redundancy_with_the_cap_on_candidates(plain, close):
    ours, _ = plain.redundancy(limit(plain, "b"))
    close("4.4 merging, d, with the cap", ours, plain.arrays["b_merge_ios"])


def test_scores_and_labels_of_instances(run, close):
    case, prefix = run
    found = match(case.proposals, case.bank, case.recipe(limit(case, prefix)))
    close("4.5 scores", found.scores, case.arrays[f"{prefix}_scores"])
    labels = [int(label) for label in found.labels]
    close("4.5 labels of instances", labels, case.arrays[f"{prefix}_labels"], tolerance=0)


def test_masks_of_instances_are_equal(run, close):
    case, prefix = run
    found = match(case.proposals, case.bank, case.recipe(limit(case, prefix)))
    size = case.arrays["orig_size"].tolist()
    counts = case.arrays[f"{prefix}_rle_counts"].tolist()
    expected = [coco_mask.decode({"size": size, "counts": entry}).astype(bool) for entry in counts]
    assert len(found) == len(expected)
    for index, mask in enumerate(expected):
        close("4.3 masks, pixels", found.full_mask(index), mask, tolerance=0)
    areas = [int(mask.sum()) for mask in found.masks]
    close("4.3 masks, areas", areas, case.arrays[f"{prefix}_areas"], tolerance=0)


def test_boxes_of_instances_are_one_larger_at_the_far_corner(run, close):
    case, prefix = run
    found = match(case.proposals, case.bank, case.recipe(limit(case, prefix)))
    theirs = case.arrays[f"{prefix}_boxes"] + [0, 0, 1, 1]
    close("4.5 boxes", found.boxes, theirs, tolerance=0)
