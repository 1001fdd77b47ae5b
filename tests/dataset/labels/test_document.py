"""What is written is what FiftyOne itself would have made of the same label."""

from __future__ import annotations

import fiftyone as fo
import numpy as np
import pytest

from ntt_plugin.dataset.labels.document import NewLabel

MASK = np.random.default_rng(1).random((7, 11)) < 0.5
BOX = [0.25, 0.5, 1 / 3, 0.125]


@pytest.mark.parametrize(
    "own",
    [
        {"mask": MASK, "confidence": 0.125},
        {"mask": MASK, "tags": ["a", "b"]},
        {"mask": None, "mask_path": "/masks/0.png", "confidence": 0.0},
        {"mask": None},
    ],
)
@pytest.mark.parametrize("attributes", [{}, {"margin": 0.5, "reference": None, "version": 3}])
def test_a_document_is_what_fiftyone_makes(own, attributes):
    made = NewLabel("boat", BOX, attributes=attributes, **own).document()
    theirs = fo.Detection(label="boat", bounding_box=BOX, **own, **attributes).to_dict()
    assert made.pop("_id") != theirs.pop("_id")
    assert made == dict(theirs)


def test_documents_share_nothing():
    first, second = (NewLabel("boat", BOX, MASK, tags=["a"]) for _ in range(2))
    made = first.document()
    made["tags"].append("b")
    assert first.tags == ["a"] and second.document()["tags"] == ["a"]


def test_fiftyone_loads_it(dataset):
    sample = dataset.first()
    document = NewLabel("boat", BOX, MASK, 0.5, ["a"], {"margin": 0.25}).document()
    dataset.add_sample_field(
        "new", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections, fields=[]
    )
    made = {"_cls": "Detections", "detections": [document]}
    dataset._sample_collection.update_one({"_id": sample._id}, {"$set": {"new": made}})
    sample.reload()
    (label,) = sample["new"].detections
    assert (label.label, label.bounding_box, label.confidence) == ("boat", BOX, 0.5)
    assert (label.tags, label["margin"]) == (["a"], 0.25)
    assert np.array_equal(label.mask, MASK)
