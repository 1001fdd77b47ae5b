"""Draws ``docs/images/method.png``: the method in one picture, from a real run.

    .venv/bin/python docs/draw_method.py

Every panel shows what the engine computed with the bundled tiny networks on generated scenes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ntt_plugin.demo.scenes import Scene
from ntt_plugin.demo.streams import reference_scene, scoring_scene
from ntt_plugin.engine import Instances, MemoryBank, Proposals, Reference, Segmenter, match
from ntt_plugin.engine.networks.mask_proposer import grid_points
from ntt_plugin.engine.references import crop_box, tight_box

OUTPUT = Path(__file__).resolve().parent / "images" / "method.png"
TARGET = 4
SHOTS = 3
SIDE = 300
GAP = 26
TEXT = (40, 40, 46)
SOFT = (110, 110, 120)
INK = [(230, 70, 70), (40, 130, 230), (60, 170, 90), (200, 120, 20), (140, 80, 200), (20, 160, 170)]


def main() -> None:
    """Run the method on one scene and draw each step."""
    segmenter = Segmenter.from_preset("tiny", device="cpu")
    target = scoring_scene(TARGET)
    labels = list(dict.fromkeys(entry.name for entry in target.classes))[: len(INK)]
    references = find_references(labels)
    bank = segmenter.build_bank(
        [
            Reference(scene.image, scene.mask(index), label)
            for label, shown in references.items()
            for scene, index in shown
        ]
    )
    proposals = segmenter.propose(target.image)
    instances = match(proposals, bank, segmenter.recipe)
    panels = [
        ("1  References", "a few masks a class, cropped", draw_references(references)),
        ("2  Memory bank", "DINOv2: one vector a class", draw_bank(bank)),
        ("3  Proposals", "SAM 2: a mask from every grid point", draw_proposals(target, proposals)),
        ("4  Matching", "colour: most similar class", draw_matching(target, proposals, bank)),
        ("5  Instances", "duplicates merged, scored", draw_instances(target, instances, bank)),
    ]
    width = len(panels) * SIDE + (len(panels) + 1) * GAP
    canvas = Image.new("RGB", (width, SIDE + 92), (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    for number, (title, words, panel) in enumerate(panels):
        left = GAP + number * (SIDE + GAP)
        pen.text((left, 14), title, TEXT, ImageFont.load_default(20))
        pen.text((left, 42), words, SOFT, ImageFont.load_default(14))
        canvas.paste(panel.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, 72))
        if number:
            x, y = left - GAP + 5, 72 + SIDE // 2
            pen.polygon([(x, y - 9), (x + 14, y), (x, y + 9)], fill=TEXT)
    canvas.save(OUTPUT, optimize=True)


def find_references(labels: list[str]) -> dict[str, list[tuple[Scene, int]]]:
    """The first scenes of the reference stream that show each class."""
    found: dict[str, list[tuple[Scene, int]]] = {label: [] for label in labels}
    index = 0
    while min(len(shown) for shown in found.values()) < SHOTS:
        scene = reference_scene(index)
        for number, entry in enumerate(scene.classes):
            if len(found.get(entry.name, [None] * SHOTS)) < SHOTS:
                found[entry.name].append((scene, number))
        index += 1
    return found


def draw_references(references: dict[str, list[tuple[Scene, int]]]) -> Image.Image:
    """A line of crops for each class, with the mask's outline in the class's colour."""
    panel = Image.new("RGB", (600, 600), (246, 246, 248))
    side = min(150, 600 // len(references) - 12)
    for line, shown in enumerate(references.values()):
        for column, (scene, index) in enumerate(shown):
            mask = scene.mask(index)
            left, top, right, bottom = crop_box(tight_box(mask), mask.shape, 0.3)
            image = tinted(scene.image, mask, INK[line], 0.0)
            crop = image.crop((left, top, right, bottom)).resize((side, side))
            panel.paste(crop, (40 + column * 190, 8 + line * (600 // len(references))))
    return panel


def draw_bank(bank: MemoryBank) -> Image.Image:
    """Each prototype as a bar of its components."""
    panel = Image.new("RGB", (600, 600), (246, 246, 248))
    pen = ImageDraw.Draw(panel)
    height = 600 // len(bank.classes)
    for line, (label, vector) in enumerate(zip(bank.classes, bank.prototypes(), strict=True)):
        top = line * height
        pen.text((14, top + 10), label, INK[line], ImageFont.load_default(26))
        values = vector.view(80, -1).mean(dim=1)
        values = values / values.abs().max()
        middle = top + 44 + (height - 50) // 2
        for place, value in enumerate(values.tolist()):
            tip = middle - value * (height - 56) / 2
            low, high = sorted((middle, tip))
            pen.rectangle((14 + place * 7.1, low, 14 + place * 7.1 + 4.6, high), fill=INK[line])
    return panel


def draw_proposals(scene: Scene, proposals: Proposals) -> Image.Image:
    """The point grid, and all proposals in random colours."""
    generator = np.random.default_rng(0)
    image = Image.fromarray(scene.image).resize((600, 600))
    for mask in full_size(proposals, scene):
        colour = tuple(int(value) for value in generator.integers(60, 255, 3))
        image = tinted(np.array(image), enlarged(mask), colour, 0.12)
    pen = ImageDraw.Draw(image)
    for x, y in (grid_points(16, 256) * 600 / 256).tolist():
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=(255, 255, 255), outline=(0, 0, 0))
    return image


def draw_matching(scene: Scene, proposals: Proposals, bank: MemoryBank) -> Image.Image:
    """Every proposal in the colour of its class, the more solid the more similar."""
    similarity = (proposals.features @ bank.prototypes().T).clamp(min=0)
    scores, classes = similarity.max(dim=1)
    image = grey(scene)
    masks = full_size(proposals, scene)
    for index in torch.argsort(scores).tolist():
        colour = INK[int(classes[index])]
        image = tinted(
            np.array(image), enlarged(masks[index]), colour, float(scores[index]) ** 3 / 3
        )
    return image


def draw_instances(scene: Scene, instances: Instances, bank: MemoryBank) -> Image.Image:
    """What is left, with scores."""
    image = grey(scene)
    tags = []
    for index in range(len(instances)):
        if instances.scores[index] < 0.6:
            continue
        mask = enlarged(instances.full_mask(index))
        colour = INK[bank.classes.index(instances.labels[index])]
        image = tinted(np.array(image), mask, colour, 0.6)
        rows, columns = np.nonzero(mask)
        tags.append((columns.mean(), rows.mean(), f"{instances.scores[index]:.2f}"))
    pen = ImageDraw.Draw(image)
    for x, y, words in tags:
        pen.text(
            (x, y),
            words,
            (255, 255, 255),
            ImageFont.load_default(26),
            anchor="mm",
            stroke_width=3,
            stroke_fill=(0, 0, 0),
        )
    return image


def full_size(proposals: Proposals, scene: Scene) -> np.ndarray:
    """Proposal masks at the scene's size, bool (n, 256, 256)."""
    logits = torch.nn.functional.interpolate(
        proposals.logits[None], scene.owners.shape, mode="bilinear", antialias=True
    )
    return (logits[0] > 0).numpy()


def enlarged(mask: np.ndarray) -> np.ndarray:
    """A mask at the panels' size, bool (600, 600)."""
    return np.asarray(Image.fromarray(mask).resize((600, 600)))


def grey(scene: Scene) -> Image.Image:
    """The scene without its colours, paler."""
    image = Image.fromarray(scene.image).convert("L").convert("RGB").resize((600, 600))
    return Image.blend(image, Image.new("RGB", image.size, (255, 255, 255)), 0.35)


def tinted(
    image: np.ndarray, mask: np.ndarray, colour: tuple[int, ...], strength: float
) -> Image.Image:
    """An image with a mask's area tinted and its rim drawn."""
    painted = image.astype(float)
    painted[mask] = (1 - strength) * painted[mask] + strength * np.array(colour)
    inner = mask.copy()
    for axis in (0, 1):
        for step in (-2, 2):
            inner &= np.roll(mask, step, axis)
    painted[mask & ~inner] = colour
    return Image.fromarray(painted.astype(np.uint8))


if __name__ == "__main__":
    main()
