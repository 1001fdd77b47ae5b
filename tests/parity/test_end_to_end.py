"""The whole recipe on files, against end_to_end: by the engine alone, and through FiftyOne.

Each step reads what the step before it wrote to disk or to the database: images, annotations, the
memory bank, the kept proposals, labels.
"""

import uuid

import fiftyone as fo
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from ntt_plugin.dataset.banks import banks
from ntt_plugin.dataset.labels.placed_masks import full_mask
from ntt_plugin.dataset.segmentation.segment import segment
from ntt_plugin.engine.bank.memory_bank import MemoryBank
from ntt_plugin.engine.matching.match import match
from ntt_plugin.engine.networks.checkpoints import load_encoder
from ntt_plugin.engine.proposals.cache import ProposalCache, image_digest
from ntt_plugin.engine.proposals.store import ProposalStore
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.engine.references import Reference
from ntt_plugin.engine.segmenter import Segmenter

# pycocotools' own call of numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES = ["b_101x67.png", "b_257x333.png", "b_480x640.png", "b_64x500.png"]
RECIPE = Recipe(segmenter="tiny", encoder="tiny", encoder_size=224)
ENCODER = "8c4ac32ab5d5"
"""Digest of the bundled encoder that the expected instances were computed with."""


class Scene:
    """The folder's files, the references' annotations and the expected instances by image."""

    def __init__(self, golden, expected, folder):
        self.folder, self.expected = folder, expected
        names = golden("end_to_end/names.json")
        self.names = names["names"]
        label = {ident: name for name, ident in names["ids"].items()}
        coco = golden("end_to_end/refs.json")
        file = {image["id"]: folder / "refs" / image["file_name"] for image in coco["images"]}
        annotations = {annotation["id"]: annotation for annotation in coco["annotations"]}
        chosen = [
            entry for entries in golden("end_to_end/references.json").values() for entry in entries
        ]
        self.references = [
            (file[entry["img_id"]], label[annotation["category_id"]], annotation)
            for entry in chosen
            for annotation in [annotations[entry["ann_id"]]]
        ]

    def of(self, image):
        """Labels, scores, boxes and masks of an image, best first."""
        shape, masks, boxes, scores, labels = (
            self.expected[f"{image}/{part}"]
            for part in ("shape", "masks", "boxes", "scores", "labels")
        )
        unpacked = np.unpackbits(masks, axis=-1, count=int(shape[-1])).astype(bool)
        assert unpacked.shape == tuple(shape)
        return [self.names[index] for index in labels], scores, boxes, unpacked


@pytest.fixture(scope="module")
def scene(golden, pytestconfig):
    expected = golden("end_to_end/expected.npz")
    if not load_encoder("tiny").digest.startswith(ENCODER):
        pytest.skip("the bundled networks were trained anew since these instances were computed")
    return Scene(golden, expected, pytestconfig.getoption("--golden") / "end_to_end")


@pytest.fixture(scope="module")
def segmenter(scene):
    return Segmenter.from_preset(RECIPE, device="cpu")


def engine_reference(path, label, annotation):
    x, y, width, height = annotation["bbox"]
    mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
    return Reference(path, mask, label, (x, y, x + width, y + height))


@pytest.fixture(scope="module")
def bank_file(scene, segmenter, tmp_path_factory):
    """A memory bank of the references, saved."""
    references = [engine_reference(*entry) for entry in scene.references]
    path = tmp_path_factory.mktemp("bank") / "bank.safetensors"
    segmenter.build_bank(references, progress=False).save(path)
    return path


@pytest.fixture(scope="module")
def dataset(scene):
    """The reference images with COCO's labels, tagged where they are chosen, and the images."""
    dataset = fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        data_path=str(scene.folder / "refs"),
        labels_path=str(scene.folder / "refs.json"),
        label_types="segmentations",
        label_field="ground_truth",
        name=f"test_{uuid.uuid4().hex}",
    )
    chosen = {
        (path.name, label, tuple(annotation["bbox"]))
        for path, label, annotation in scene.references
    }
    for sample in dataset.iter_samples(autosave=True):
        size = np.array([sample.metadata.width, sample.metadata.height] * 2)
        for label in sample.ground_truth.detections:
            box = tuple(np.round(label.bounding_box * size, 2).tolist())
            if (sample.filename, label.label, box) in chosen:
                label.tags.append("reference")
    dataset.add_samples(
        [fo.Sample(str(scene.folder / "images" / name), tags=["target"]) for name in IMAGES]
    )
    yield dataset
    fo.delete_dataset(dataset.name)


def require_equal(close, step, found, expected):
    labels, scores, boxes, masks = found
    wanted_labels, wanted_scores, wanted_boxes, wanted_masks = expected
    assert list(labels) == wanted_labels
    close(f"{step}, scores", scores, wanted_scores)
    close(f"{step}, boxes", boxes, wanted_boxes, tolerance=0)
    close(f"{step}, masks", masks, wanted_masks, tolerance=0)


def of_instances(found):
    masks = [found.full_mask(index) for index in range(len(found))]
    return found.labels, found.scores, found.boxes, masks


@pytest.mark.parametrize("image", IMAGES)
def test_engine_finds_the_expected_instances(scene, segmenter, bank_file, image, close, tmp_path):
    bank = MemoryBank.load(bank_file)
    path = scene.folder / "images" / image
    require_equal(
        close,
        "3 to 5 engine",
        of_instances(segmenter.segment(path, bank)),
        scene.of(image),
    )

    cache = ProposalCache(ProposalStore(tmp_path), segmenter.upstream, segmenter.fingerprint)
    assert cache.save(image_digest(path), segmenter.propose(path))
    kept = cache.load(image_digest(path))
    require_equal(
        close,
        "3 to 5 engine, kept proposals",
        of_instances(match(kept, bank, RECIPE)),
        scene.of(image),
    )


# The second run matches the proposals that the first one kept.
@pytest.mark.parametrize("field, kept", [("computed", 0), ("from_kept", len(IMAGES))])
def test_labels_in_fiftyone_are_the_expected_instances(
    scene, dataset, bank_file, close, field, kept
):
    targets = dataset.match_tags("target")
    report = segment(targets, bank_file, label_field=field, device="cpu")
    assert (report.segmented, report.from_cache) == (len(IMAGES), kept)
    for sample in targets:
        expected = scene.of(sample.filename)
        height, width = expected[3].shape[1:]
        labels = sample[field].detections
        relative = np.array([label.bounding_box for label in labels])
        corners = np.hstack([relative[:, :2], relative[:, :2] + relative[:, 2:]])
        found = (
            [label.label for label in labels],
            [label.confidence for label in labels],
            np.round(corners * ([width, height] * 2), 6),
            [full_mask(label, (height, width)) for label in labels],
        )
        require_equal(close, "3 to 5 through FiftyOne", found, expected)


def test_features_of_labels_imported_by_fiftyone_are_the_engines(scene, dataset, segmenter, close):
    bank = banks.build_memory_bank(
        dataset, "ground_truth", "imported", tag="reference", preset=RECIPE, device="cpu"
    )
    assert bank.refused == []
    found = {}
    for label in bank.classes:
        for reference, feature in zip(bank.references(label), bank.features(label), strict=True):
            origin = reference.provenance
            path = dataset[origin.sample].filepath
            found[path, label, tuple(np.round(origin.box, 6))] = feature
    assert len(found) == len(scene.references)
    # FiftyOne's importer cuts off the pixels of a mask that a fractional box leaves out.
    whole = [
        entry for entry in scene.references if all(edge == int(edge) for edge in entry[2]["bbox"])
    ]
    assert len(whole) > 30
    for path, label, annotation in whole:
        reference = engine_reference(path, label, annotation)
        ours = found[str(path), label, reference.box]
        close("1 features of FiftyOne's labels", ours, segmenter.reference_feature(reference))
