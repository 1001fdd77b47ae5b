"""Recipe, sections 1 and 2, against memory_crop.npz and memory_post.npz."""

import numpy as np
import pytest
import torch

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.images.load import normalise
from ntt_plugin.engine.references import crop_box, crop_reference, grid_weights, pool_reference

SIZE, GRID, RATIO = 518, 37, 0.2


@pytest.fixture(scope="module")
def crops(golden):
    arrays = golden("memory_crop.npz")
    names = sorted({name.split("_")[0] for name in arrays})
    cases = [
        {key.removeprefix(f"{name}_"): arrays[key] for key in arrays if key.startswith(f"{name}_")}
        for name in names
    ]
    assert cases
    return cases


def corners(bbox):
    x, y, width, height = bbox.tolist()
    return x, y, x + width, y + height


def cropped(case):
    image = torch.from_numpy(case["image"]).permute(2, 0, 1).float() / 255
    mask = torch.from_numpy(case["mask"]).bool()
    return crop_reference(image, mask, corners(case["bbox"]), SIZE, RATIO)


def test_crop_boxes_are_equal(crops, close):
    for case in crops:
        box = crop_box(corners(case["bbox"]), case["mask"].shape, RATIO)
        close("1.1 crop box", box, case["crop_box"], tolerance=0)


def test_image_crops(crops, close):
    for case in crops:
        crop = cropped(case)[0].double().numpy()
        close("1.2 image crop, pixels", crop[:, ::37, ::37], case["crop_sub"])
        close("1.2 image crop, mean a channel", crop.mean((1, 2)), case["crop_mean"])
        close("1.2 image crop, deviation a channel", crop.std((1, 2), ddof=1), case["crop_std"])
        close(
            "1.2 image crop, range", [crop.min(), crop.max()], [case["crop_min"], case["crop_max"]]
        )


def test_normalised_crops(crops, close):
    for case in crops:
        crop = normalise(cropped(case)[0]).double().numpy()
        close("1.3 normalised crop, pixels", crop[:, ::37, ::37], case["enc_sub"])
        close("1.3 normalised crop, mean a channel", crop.mean((1, 2)), case["enc_mean"])
        close("1.3 normalised crop, deviation", crop.std((1, 2), ddof=1), case["enc_std"])


def test_mask_crops(crops, close):
    for case in crops:
        mask = cropped(case)[1]
        area = mask.double().sum().item() / SIZE**2
        close("1.2 mask crop, covered part", area, case["mask518_sum"] / SIZE**2)
        close("1.3 weights on the grid", grid_weights(mask, GRID), case["mask37"])


def test_instance_features_and_prototypes(golden, close):
    arrays = golden("memory_post.npz")
    features = torch.from_numpy(arrays["mem_feats"]).float()
    weights = torch.from_numpy(arrays["mem_masks"]).float()
    channels = features.shape[-1]
    bank = MemoryBank(Fingerprint("golden", "0", SIZE, channels))
    for label, (patches, masks) in enumerate(zip(features, weights, strict=True)):
        for shot, mask in zip(patches, masks, strict=True):
            feature = pool_reference(shot.T.reshape(channels, GRID, GRID), mask.view(GRID, GRID))
            bank.add(str(label), feature)

    expected = arrays["mem_feats_ins_avg"].astype(np.float64)
    ours = np.stack([bank.features(label).numpy() for label in bank.classes])
    close("1.4 instance features", ours, expected)
    means = expected.mean(axis=1)
    prototypes = means / np.linalg.norm(means, axis=1, keepdims=True)
    close("2 prototypes", bank.prototypes(), prototypes)


def test_pooling_by_weight_gives_the_mean_over_a_class(golden, close):
    arrays = golden("memory_post.npz")
    for patches, masks, expected in zip(
        arrays["mem_feats"], arrays["mem_masks"], arrays["mem_feats_avg"], strict=True
    ):
        features = torch.from_numpy(patches).float().permute(2, 0, 1)
        mean = pool_reference(features, torch.from_numpy(masks).float())
        close("2 mean over a class's patches", mean, expected)
