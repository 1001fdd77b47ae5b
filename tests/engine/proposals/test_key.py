import hashlib
import os
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Dinov2Config

from ntt_plugin.engine import Recipe
from ntt_plugin.engine.proposals import cache as proposal_key
from ntt_plugin.engine.proposals.cache import architecture, image_digest, upstream_digest
from ntt_plugin.errors import ImageError
from tests.engine.images.image_files import deep_png, save_turned

# Another value of each field that proposals depend on, and of each that they do not.
BEFORE = {
    "encoder_size": 224,
    "grid": 16,
    "iou_threshold": 0.5,
    "duplicate_iou": 0.9,
    "tile": 512,
    "stability_exponent": 1.0,
    "encoding": "squares",
}
AFTER = {
    "name": "mine",
    "context_ratio": 0.5,
    "point_batch": 7,
    "nms_iou": 0.6,
    "max_instances": 5,
    "candidate_factor": 3,
    "rescoring": "diffusion",
    "merge_exponent": 1.0,
    "negative_sigma": 0.1,
    "iou_exponent": 2.0,
    "box_points": 5,
}
NAMES = {"segmenter": "a/b", "encoder": "c/d", "precision": "bfloat16"}


def upstream(recipe: Recipe | None = None, **other: object) -> str:
    arguments = {
        "recipe": recipe or Recipe(),
        "segmenter_digest": "5" * 16,
        "encoder_digest": "e" * 16,
        "dtype": torch.float32,
        "architectures": ("s", "e"),
        **other,
    }
    return upstream_digest(**arguments)


@pytest.mark.parametrize("field", BEFORE)
def test_what_proposals_depend_on_changes_the_key(field: str) -> None:
    assert upstream(replace(Recipe(), **{field: BEFORE[field]})) != upstream()


def test_without_tiles_the_key_is_that_of_versions_before_tiles() -> None:
    former = "b76ebfefbe4d2c625cacc28467b42f7699a63bfd9fe3dd378b86a01afa8cd2fd"
    assert upstream() == upstream(Recipe(tile_overlap=0.5)) == former


def test_proposals_are_shared_whatever_the_power_of_the_stability() -> None:
    assert upstream(Recipe(stability_exponent=2.0)) == upstream(Recipe(stability_exponent=0.5))


def test_with_tiles_their_overlap_changes_the_key() -> None:
    assert upstream(Recipe(tile=512, tile_overlap=0.5)) != upstream(Recipe(tile=512))


def test_tiles_whose_duplicates_no_version_dropped_before_have_another_key() -> None:
    former = "f3ec83273daec8dd32063a2aa03ae413f4815d2dc89c59eb967a66c74849a7c2"
    recipe = Recipe(tile=512, duplicate_iou=0.9)
    assert upstream(recipe) != former
    same = ({"tile": None}, "e823af7f7467b7c6"), ({"duplicate_iou": None}, "9a98928ebf809f02")
    assert all(upstream(replace(recipe, **off)).startswith(key) for off, key in same)


@pytest.mark.parametrize("part", [{"num_attention_heads": 6}, {"layer_norm_eps": 0.5}])
def test_equal_weights_of_another_architecture_have_another_key(part: dict[str, float]) -> None:
    config, other = Dinov2Config(), Dinov2Config(**part)
    keys = [
        upstream(architectures=("s", architecture(entry.to_dict()))) for entry in (config, other)
    ]
    assert keys[0] != keys[1]


def test_what_a_network_is_called_is_no_architecture() -> None:
    plain = {"heads": 2, "vision": {"layers": 3}}
    named = {"_name_or_path": "a", "heads": 2, "vision": {"layers": 3, "dtype": "float16"}}
    assert architecture(plain) == architecture(named)


@pytest.mark.parametrize("field", AFTER)
def test_what_comes_after_proposals_leaves_the_key(field: str) -> None:
    assert upstream(replace(Recipe(), **{field: AFTER[field]})) == upstream()


@pytest.mark.parametrize("field", NAMES)
def test_names_do_not_matter_where_digests_and_dtype_say_more(field: str) -> None:
    assert upstream(replace(Recipe(), **{field: NAMES[field]})) == upstream()


def test_every_field_of_a_recipe_counts_as_before_unless_said_otherwise() -> None:
    before = {field.name for field in fields(Recipe)} - set(AFTER) - set(NAMES)
    assert before == {*BEFORE, "tile_overlap"}
    assert proposal_key.AFTER_PROPOSALS == set(AFTER)


@pytest.mark.parametrize(
    "other",
    [
        {"segmenter_digest": "6" * 16},
        {"encoder_digest": "f" * 16},
        {"segmenter_digest": "e" * 16, "encoder_digest": "5" * 16},
        {"dtype": torch.float16},
    ],
)
def test_other_weights_or_another_dtype_change_the_key(other: dict[str, object]) -> None:
    assert upstream(**other) != upstream()


@pytest.mark.parametrize("version", ["CODEC_VERSION", "PIPELINE_VERSION"])
def test_another_version_of_ours_changes_the_key(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = upstream()
    monkeypatch.setattr(proposal_key, version, 99)

    assert upstream() != before


def test_a_key_is_64_hexadecimal_digits_and_follows_from_both_parts() -> None:
    keys = {
        proposal_key.proposal_key(image, run) for image in ("1", "2", "1 2") for run in ("1", "2")
    }

    assert len(keys) == 6
    assert all(len(key) == 64 and int(key, 16) >= 0 for key in keys)


def test_a_file_is_known_by_its_bytes_and_not_by_its_name(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    (tmp_path / "two.png").write_bytes((tmp_path / "one.png").read_bytes())

    assert image_digest(tmp_path / "one.png") == image_digest(str(tmp_path / "two.png"))


def test_one_changed_byte_of_a_large_file_is_seen_though_its_times_are_not(tmp_path: Path) -> None:
    path = tmp_path / "large.bmp"
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    data = bytearray(path.read_bytes())
    os.utime(path, (1, 1))
    before = image_digest(path)

    data[2_999_999] ^= 1
    path.write_bytes(data)
    os.utime(path, (1, 1))

    assert image_digest(path) != before


def test_pixels_are_known_by_values_and_shape() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    digests = {
        image_digest(pixels),
        image_digest(pixels.reshape(4, 2, 3)),
        image_digest(pixels + 1),
    }

    assert len(digests) == 3
    assert image_digest(Image.fromarray(pixels)) == image_digest(pixels)


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing.png", "no image file"), ("nul\0.png", "Cannot read"), (".", "is a folder")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        image_digest(tmp_path / name)


@pytest.mark.parametrize("is_image", [False, True])
@pytest.mark.parametrize("size", [2**40, 40 * 2**30, 300 * 2**20])
def test_a_huge_file_is_refused_before_it_is_read(
    tmp_path: Path, is_image: bool, size: int
) -> None:
    path = tmp_path / "huge.png"
    Image.new("RGB", (9, 9)).save(path)
    with path.open("r+b") as file:
        if not is_image:
            file.truncate(0)
        file.truncate(size)
    said = "something else was written into it" if is_image else "of a format that is not read"
    began = time.monotonic()
    with pytest.raises(ImageError, match=said):
        image_digest(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["/proc/kmsg", "/dev/zero", "pipe"])
def test_what_is_no_file_or_never_ends_is_not_read(tmp_path: Path, name: str) -> None:
    link = tmp_path / "image.png"
    if name == "pipe":
        os.mkfifo(tmp_path / name)
    link.symlink_to(tmp_path / name)
    with pytest.raises(ImageError, match=r"empty|a pipe, a socket or a device"):
        image_digest(link)


def former_digest(path: Path, version: str = "") -> str:
    """How every file's digest was made before ``READING_VERSION`` 2, or at another version."""
    return hashlib.blake2b(
        b"file" + version.encode() + path.read_bytes(), digest_size=32
    ).hexdigest()


def test_a_file_whose_reading_never_changed_keeps_its_digest(tmp_path: Path) -> None:
    Image.effect_noise((30, 20), 90).convert("RGB").save(tmp_path / "photo.jpg")
    assert image_digest(tmp_path / "photo.jpg") == former_digest(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    "kind", ["turned.jpg", "turned.png", "deep.png", "colours.png", "alpha.png"]
)
def test_a_file_that_was_read_wrongly_has_another_digest(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    form, _, suffix = kind.partition(".")
    if form == "turned":
        save_turned(path, np.zeros((9, 9, 3), np.uint8), 3, suffix)
    elif form == "deep":
        Image.fromarray(np.full((9, 9), 300, np.uint16)).save(path)
    elif form == "colours":
        path.write_bytes(deep_png(np.full((9, 9, 3), 300, np.uint16)))
    else:
        Image.new("RGBA", (9, 9)).save(path)
    assert image_digest(path) != former_digest(path)
    # Version 3 changed how values are read, not how photographs are turned.
    assert (image_digest(path) == former_digest(path, " 2")) == (form == "turned")
