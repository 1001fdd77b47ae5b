"""What a worker writes is what FiftyOne would write, byte for byte once masks are inflated."""

import zlib

import bson
import fiftyone as fo
import numpy as np
import pytest
from bson import ObjectId
from fiftyone.core.utils import deserialize_numpy_array

from ntt_plugin.dataset.labels.convert import label_defaults, list_defaults
from ntt_plugin.worker.labels import label_bytes
from ntt_plugin.worker.labels.label_bytes import (
    NewLabel,
    Stamp,
    decode_mask,
    encode_mask,
    field_bytes,
    masks_as_png,
    with_mask_paths,
)
from ntt_plugin.worker.labels.made_labels import label_digest, read_made

MASK = np.random.default_rng(1).random((7, 11)) < 0.5
BOX = [0.25, 0.5, 1 / 3, 0.125]


def stamp(in_files=False):
    return Stamp("run", "token", label_defaults(), list_defaults(), in_files)


def inflated(label):
    """The bytes of a label's document, its mask inflated."""
    if label.get("mask") is None:
        return bson.encode(label)
    return bson.encode({**label, "mask": zlib.decompress(label["mask"])})


@pytest.mark.parametrize("shape", [(1, 1), (7, 11), (1, 300), (480, 640), (1234, 1)])
def test_a_mask_is_an_npy_file_as_fiftyone_has_it(shape):
    mask = np.random.default_rng(2).random(shape) < 0.5
    theirs = fo.Detection(mask=mask).to_dict()["mask"]
    assert zlib.decompress(encode_mask(mask)) == zlib.decompress(theirs)
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)
    assert np.array_equal(deserialize_numpy_array(encode_mask(mask)), mask)


@pytest.mark.parametrize(
    "own",
    [
        {"mask": MASK, "confidence": 0.125},
        {"mask": MASK, "tags": ["a", "b"]},
        {"mask": MASK, "confidence": 0.0},
        {"mask": None},
    ],
)
@pytest.mark.parametrize("attributes", [{}, {"margin": 0.5, "reference": None, "version": 3}])
def test_a_label_is_byte_for_byte_what_fiftyone_would_write(own, attributes):
    made = NewLabel("boat", BOX, attributes=attributes, **own).document(label_defaults())
    theirs = fo.Detection(label="boat", bounding_box=BOX, **own, **attributes)
    theirs._id = made["_id"]
    assert inflated(made) == inflated(theirs.to_dict())


def test_a_label_with_a_mask_file_is_byte_for_byte_what_fiftyone_would_write():
    made = NewLabel("boat", BOX, MASK, 0.5).document(label_defaults(), "/masks/0.png")
    theirs = fo.Detection(label="boat", bounding_box=BOX, mask_path="/masks/0.png", confidence=0.5)
    theirs._id = made["_id"]
    assert bson.encode(made) == bson.encode(theirs.to_dict())


def test_a_field_is_what_fiftyone_would_write_with_what_the_run_adds():
    data, pngs = field_bytes([NewLabel("a", BOX, MASK), NewLabel("b", BOX, MASK)], stamp())
    whole = bson.decode(data)
    added = {name: whole.pop(name) for name in ("writer", "made")}
    labels = [fo.Detection.from_dict(dict(entry)) for entry in whole["detections"]]
    theirs = fo.Detections(detections=labels, run="run").to_dict()
    for label, their in zip(whole["detections"], theirs["detections"], strict=True):
        their["_id"] = label["_id"]
    for field in (whole, theirs):
        field["detections"] = [inflated(label) for label in field["detections"]]
    assert bson.encode(whole) == bson.encode(theirs)
    assert (added["writer"], pngs) == ("token", None)


def test_a_sample_may_have_a_run_of_its_own_and_tells_the_state_of_its_image():
    data, _ = field_bytes([], stamp(), run="another", image="12 34")
    whole = bson.decode(data)
    assert (whole["run"], whole["image"], whole["detections"]) == ("another", "12 34", [])


def test_documents_share_nothing():
    first, second = (NewLabel("boat", BOX, MASK, tags=["a"]) for _ in range(2))
    made = first.document(label_defaults())
    made["tags"].append("b")
    assert first.tags == ["a"] and second.document(label_defaults())["tags"] == ["a"]


def test_masks_for_files_come_as_png_and_their_paths_are_put_in_later():
    data, pngs = field_bytes([NewLabel("a", BOX, MASK)], stamp(in_files=True))
    assert len(pngs) == 1 and pngs[0].startswith(b"\x89PNG")
    (label,) = bson.decode(with_mask_paths(data, ["/m/0.png"]))["detections"]
    theirs = fo.Detection(label="a", bounding_box=BOX, mask_path="/m/0.png")
    theirs._id = label["_id"]
    assert bson.encode(label) == bson.encode(theirs.to_dict())


def test_masks_go_out_of_a_finished_document_into_files():
    inline, _ = field_bytes([NewLabel("a", BOX, MASK)], stamp())
    _, pngs = field_bytes([NewLabel("a", BOX, MASK)], stamp(in_files=True))
    assert masks_as_png(inline) == pngs
    (label,) = bson.decode(with_mask_paths(inline, ["/m/0.png"]))["detections"]
    assert label["mask_path"] == "/m/0.png" and "mask" not in label
    assert masks_as_png(field_bytes([], stamp())[0]) is None


def test_masks_that_are_judged_too_large_go_to_files(monkeypatch):
    monkeypatch.setattr(label_bytes, "MOST_INLINE", 5)
    assert field_bytes([NewLabel("a", BOX, MASK)], stamp())[1] is not None


def test_each_label_is_named_with_its_digest():
    data, _ = field_bytes([NewLabel("a", BOX, MASK), NewLabel("b", BOX, ~MASK)], stamp())
    whole = bson.decode(data)
    first, second = whole["detections"]
    assert read_made(whole["made"]) == {
        str(first["_id"]): label_digest("a", BOX, MASK),
        str(second["_id"]): label_digest("b", BOX, ~MASK),
    }


def test_fiftyone_loads_what_is_written(dataset):
    sample = dataset.first()
    data, _ = field_bytes([NewLabel("boat", BOX, MASK, 0.5, ["a"], {"margin": 0.25})], stamp())
    dataset.add_sample_field(
        "new", fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections, fields=[]
    )
    place = {"_id": ObjectId(sample.id)}
    dataset._sample_collection.update_one(place, {"$set": {"new": bson.decode(data)}})
    sample.reload()
    (label,) = sample["new"].detections
    assert (label.label, label.bounding_box, label.confidence) == ("boat", BOX, 0.5)
    assert (label.tags, label["margin"]) == (["a"], 0.25)
    assert np.array_equal(label.mask, MASK)
    assert read_made(sample["new"]["made"]) == {label.id: label_digest("boat", BOX, MASK)}
