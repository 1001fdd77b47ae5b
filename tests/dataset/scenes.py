"""Images of coloured blocks whose instances are known, and an engine that finds them by colour."""

import time
from dataclasses import replace
from pathlib import Path

import fiftyone as fo
import numpy as np
import torch
from PIL import Image

from ntt_plugin.engine.bank.memory_bank import Fingerprint
from ntt_plugin.engine.images.load import read_image
from ntt_plugin.engine.masks.packed import pack_mask
from ntt_plugin.engine.proposals.joined import join_proposals
from ntt_plugin.engine.proposals.proposals import Proposals
from ntt_plugin.engine.proposals.tiles import whole_image
from ntt_plugin.engine.recipe import Recipe
from ntt_plugin.errors import ReferenceRefusedError

SIZE = (64, 96)
COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


def blocks(index: int) -> dict[str, tuple[int, int, int, int]]:
    """Where image ``index`` has its blocks: class -> x1 y1 x2 y2."""
    names = list(COLOURS)
    found = {}
    for place in range(3):
        x1, y1 = 3 + 31 * place + index % 3, 4 + 5 * index % 23
        found[names[(place + index) % 3]] = (x1, y1, x1 + 20 + index % 5, y1 + 25 + place)
    return found


def draw(index: int) -> np.ndarray:
    pixels = np.zeros((*SIZE, 3), dtype=np.uint8)
    for label, (x1, y1, x2, y2) in blocks(index).items():
        pixels[y1:y2, x1:x2] = COLOURS[label]
    return pixels


def make_dataset(name: str, folder: Path, count: int) -> fo.Dataset:
    samples = []
    for index in range(count):
        path = folder / f"{index:03}.png"
        Image.fromarray(draw(index)).save(path)
        detections = []
        for label, (x1, y1, x2, y2) in blocks(index).items():
            mask = np.zeros(SIZE, dtype=bool)
            mask[y1:y2, x1:x2] = True
            detections.append(fo.Detection.from_mask(mask, label=label))
        sample = fo.Sample(filepath=str(path))
        sample["ground_truth"] = fo.Detections(detections=detections)
        samples.append(sample)
    dataset = fo.Dataset(name)
    dataset.add_samples(samples, progress=False)
    return dataset


def polylines(index: int, **options: object) -> list[fo.Polyline]:
    """The blocks of image ``index`` as polylines."""
    height, width = SIZE
    drawn = []
    for label, (x1, y1, x2, y2) in blocks(index).items():
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        points = [(x / width, y / height) for x, y in corners]
        drawn.append(fo.Polyline(label=label, points=[points], filled=True, **options))
    return drawn


def wait_until_written(dataset: fo.Dataset, count: int) -> None:
    """Wait until a run into ``ntt`` has written so many samples; it writes beside its work."""
    written, deadline = {"ntt.run": {"$exists": True}}, time.monotonic() + 60
    while dataset._sample_collection.count_documents(written) < count:
        assert time.monotonic() < deadline, f"{count} samples were not written"
        time.sleep(0.01)


class ColourSegmenter:
    """Has the engine's ``Segmenter`` interface: a block is a proposal, its colour the feature.

    Its proposals are kept only if it is told what is upstream of them.
    """

    upstream = None

    def __init__(self, digest: str = "colours", **overrides):
        self.recipe = replace(Recipe(), name="tiny", **overrides)
        self.fingerprint = Fingerprint("colours", digest, size=96, channels=3)
        self.device = torch.device("cpu")
        self.proposed = 0

    @property
    def point_batch(self):
        return self.recipe.point_batch

    def reference_feature(self, reference):
        image = np.asarray(read_image(reference.image), dtype=np.float32)
        if reference.mask.sum() < 4:
            raise ReferenceRefusedError("Its mask is too small.")
        return torch.from_numpy(image[reference.mask].mean(axis=0))

    def propose(self, image, progress=None):
        self.proposed += 1
        pixels = np.asarray(read_image(image), dtype=np.float32)
        size = pixels.shape[:2]
        side = max(size)
        square = np.zeros((side, side, 3), dtype=np.float32)
        rows = np.arange(side) * size[0] // side
        columns = np.arange(side) * size[1] // side
        square = torch.from_numpy(pixels[rows][:, columns]).permute(2, 0, 1) / 255
        logits = torch.stack(
            [channel * 2 - 1 for channel in square if channel.any()] or [-square[0]]
        )
        return Proposals.from_logits(
            logits, torch.linspace(0.9, 0.8, len(logits)), square, size, self.fingerprint
        )

    def propose_candidates(self, image, candidates, *, grid=False, progress=None):
        """Each candidate's mask, or the pixels of its box that are not black."""
        pixels = np.asarray(read_image(image), dtype=np.float32)
        size = pixels.shape[:2]
        masks, ious, features, sources = [], [], [], []
        for index, candidate in enumerate(candidates):
            mask = candidate.mask
            if mask is None:
                mask = pack_mask(self.masks_from_boxes(image, [candidate.box])[0])
            if mask is not None:
                x1, y1, x2, y2 = mask.box
                colour = pixels[y1:y2, x1:x2][mask.unpack()].mean(axis=0)
                masks.append(mask)
                ious.append(candidate.confidence)
                features.append(torch.from_numpy(colour / np.linalg.norm(colour)))
                sources.append(index)
        given = Proposals(
            torch.tensor(ious),
            torch.stack(features) if features else torch.zeros(0, 3),
            torch.tensor([mask.box for mask in masks], dtype=torch.float32).view(-1, 4),
            masks,
            size,
            self.fingerprint,
            torch.tensor(sources, dtype=torch.int64),
        )
        parts = [(self.propose(image), whole_image(size))] if grid else []
        self.proposed += not grid
        return join_proposals([*parts, (given, whole_image(size))], size, self.fingerprint)

    def masks_from_boxes(self, image, boxes):
        """The pixels of a box that are not black."""
        pixels = np.asarray(read_image(image)).any(axis=-1)
        masks = []
        for box in boxes:
            x1, y1, x2, y2 = (max(0, round(float(edge))) for edge in box)
            mask = np.zeros_like(pixels)
            mask[y1:y2, x1:x2] = pixels[y1:y2, x1:x2]
            masks.append(mask)
        return masks
