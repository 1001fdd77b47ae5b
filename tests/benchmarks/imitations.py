"""The published tables' data in small: the original formats, over images of coloured blocks.

In each image a class has one block of its colour at most, so that ``BlockEngine`` finds each block
to the pixel. A dull block has another colour mixed in: it is found with a lower score.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ntt_plugin.dataset.references.coco_few_shot import NOVEL_COCO_CLASSES
from ntt_plugin.engine import Segmenter
from tests.dataset.scenes import ColourSegmenter

SIDE = 160
PLACES = {"red": (12, 12), "green": (100, 12), "blue": (12, 100)}
WIDTH = 40
PURE = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}
DULL = {"red": (250, 60, 0), "green": (0, 250, 60), "blue": (60, 0, 250)}


class BlockEngine(ColourSegmenter):
    build_bank = Segmenter.build_bank


def box(colour, height=WIDTH):
    """Where a colour's block is, x y w h; a height other than the block's is a wrong truth."""
    x, y = PLACES[colour]
    return [x, y, WIDTH, height]


def draw(path, pure=(), dull=()):
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    for colours, names in ((PURE, pure), (DULL, dull)):
        for name in names:
            x, y = PLACES[name]
            pixels[y : y + WIDTH, x : x + WIDTH] = colours[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    # Lossless, whatever the name says: Pillow reads by content.
    Image.fromarray(pixels).save(path, format="PNG")


def polygon(bbox):
    x, y, w, h = bbox
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


def annotation(key, image, category, bbox, masks=True, **more):
    found = {"id": key, "image_id": image, "category_id": category, "bbox": bbox}
    if masks:
        found["segmentation"] = polygon(bbox)
    return {**found, "area": bbox[2] * bbox[3], "iscrowd": 0, **more}


def image(key, file_name, **more):
    return {"id": key, "file_name": file_name, "width": SIDE, "height": SIDE, **more}


def write(path, images, annotations, categories):
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


# COCO: person is red, cat is green, and zebra, which is no novel class, is blue.
COCO_IDS = {name: 10 + key for key, name in enumerate((*NOVEL_COCO_CLASSES, "zebra"))}


def make_coco(folder: Path) -> None:
    """Persons are found twice of three times, the cat always."""
    person, cat, zebra = (COCO_IDS[name] for name in ("person", "cat", "zebra"))
    categories = [{"id": key, "name": name} for name, key in COCO_IDS.items()]
    train, labels = [], []
    for number in range(1, 7):
        name = f"{number:012d}.jpg"
        train.append(image(number, name))
        draw(folder / "train2017" / name, PURE)
        for category, colour in ((cat, "green"), (person, "red"), (zebra, "blue")):
            labels.append(annotation(100 + len(labels), number, category, box(colour)))
    labels[0]["bbox"] = [100, 12, 31, 40]  # a cat that is too small
    labels[4]["iscrowd"] = 1  # a person
    write(folder / "annotations/instances_train2017.json", train, labels, categories)

    draw(folder / "val2017" / "000000000001.jpg", ["red", "green", "blue"])
    draw(folder / "val2017" / "000000000002.jpg", ["red"])
    val = [image(1, "000000000001.jpg"), image(2, "000000000002.jpg")]
    truth = [
        annotation(1, 1, person, box("red")),
        annotation(2, 1, cat, box("green")),
        annotation(3, 2, person, box("red")),
        annotation(4, 2, person, [100, 100, 40, 40]),
    ]
    write(folder / "annotations/instances_val2017.json", val, truth, categories)


def voc_object(name, bbox, difficult=0):
    x, y, w, h = bbox
    edges = {"xmin": x + 1, "ymin": y + 1, "xmax": x + w + 1, "ymax": y + h + 1}
    inner = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges.items())
    return (
        f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated>"
        f"<difficult>{difficult}</difficult><bndbox>{inner}</bndbox></object>"
    )


def voc_image(folder, year, stem, objects, pure=(), dull=()):
    root = folder / "VOCdevkit" / year
    draw(root / "JPEGImages" / f"{stem}.jpg", pure, dull)
    size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>"
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation><filename>{stem}.jpg</filename>{size}{''.join(objects)}</annotation>"
    )


def voc_list(folder, year, name, stems):
    path = folder / "VOCdevkit" / year / "ImageSets" / "Main" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(stems) + "\n")


def make_voc(folder: Path) -> None:
    """Of split 1 there are birds (red), buses (green) and cows (blue).

    A bird that is not there is found first, then the two that are there; buses are found; the
    cow is not. One more bird is found where the truth has a difficult one.
    """
    for year, stems in (("VOC2007", ["000005", "000001"]), ("VOC2012", ["2008_000002"])):
        voc_list(folder, year, "trainval", stems)
        for stem in stems:
            objects = [
                voc_object("bus", box("green"), difficult=int(stem == "000005")),
                voc_object("bird", box("red")),
                voc_object("cow", box("blue")),
                voc_object("person", [100, 100, 40, 40]),
            ]
            voc_image(folder, year, stem, objects, PURE)

    voc_list(folder, "VOC2007", "test", ["000002", "000003", "000004", "000006"])
    bird, bus = voc_object("bird", box("red")), voc_object("bus", box("green"))
    voc_image(folder, "VOC2007", "000002", [bird], dull=["red"])
    voc_image(folder, "VOC2007", "000003", [bus], pure=["red", "green"])
    higher = voc_object("bird", box("red", height=60))
    cow = voc_object("cow", [100, 100, 40, 40])
    voc_image(folder, "VOC2007", "000004", [higher, cow], dull=["red"])
    difficult = voc_object("bird", box("red"), difficult=1)
    voc_image(folder, "VOC2007", "000006", [difficult], pure=["red"])


def make_cdfsod(folder: Path) -> None:
    """DeepFish has one class, whose truth is higher than what is found: IoU 10/13.

    UODD has three: the scallop and the sea cucumber are found, the sea urchin is not.
    """
    fish = [{"id": 1, "name": "fish"}]
    draw(folder / "FISH/train/a.jpg", ["red"])
    draw(folder / "FISH/test/b.jpg", ["red"])
    boxes = {"masks": False}
    write(
        folder / "FISH/annotations/1_shot.json",
        [image(1, "a.jpg")],
        [annotation(1, 1, 1, box("red"), **boxes)],
        fish,
    )
    write(
        folder / "FISH/annotations/test.json",
        [image(1, "b.jpg")],
        [annotation(1, 1, 1, box("red", height=52), **boxes)],
        fish,
    )
    names = ("seacucumber", "seaurchin", "scallop")
    categories = [{"id": key, "name": name} for key, name in enumerate(names, start=1)]
    draw(folder / "UODD/train/000001.jpg", PURE)
    draw(folder / "UODD/test/000002.jpg", ["red", "blue"])
    three = [annotation(k, 1, k, box(c), **boxes) for k, c in enumerate(PURE, start=1)]
    write(folder / "UODD/annotations/1_shot.json", [image(1, "000001.jpg")], three, categories)
    write(folder / "UODD/annotations/test.json", [image(1, "000002.jpg")], three, categories)


def make_lvis(folder: Path) -> None:
    """A rare, a common and a frequent class: red, green and blue.

    Red: of two one is found, and one more in an image where red was not annotated exhaustively.
    Green: one is found in an image that was checked to have none, then one that is there. Blue: one
    is found, and one more in an image that was not checked for blue.
    """

    def entry(key, part, negative=(), incomplete=()):
        url = f"http://images.cocodataset.org/{part}/{key:012d}.jpg"
        more = {"neg_category_ids": list(negative), "not_exhaustive_category_ids": list(incomplete)}
        found = image(key, "", coco_url=url, **more)
        del found["file_name"]
        return found

    def label(key, where, category, bbox):
        found = annotation(key, where, category, bbox)
        del found["iscrowd"]
        return found

    categories = [
        {"id": 1, "name": "aerosol_can", "frequency": "r", "image_count": 1},
        {"id": 2, "name": "bat_(animal)", "frequency": "c", "image_count": 3},
        {"id": 3, "name": "zebra", "frequency": "f", "image_count": 4},
    ]
    train, labels = [], [label(1, 1, 1, box("red"))]
    for number in range(1, 5):
        train.append(entry(number, "train2017"))
        draw(folder / "train2017" / f"{number:012d}.jpg", PURE)
        labels.append(label(10 + number, number, 2, [100, 12, 40, 20]))
        labels.append(label(20 + number, number, 3, box("blue")))
    write(folder / "lvis_v1_train.json", train, labels, categories)

    draw(folder / "val2017" / f"{11:012d}.jpg", PURE)
    draw(folder / "val2017" / f"{12:012d}.jpg", ["red"], ["green"])
    draw(folder / "train2017" / f"{13:012d}.jpg", ["blue"])
    val = [
        entry(11, "val2017", negative=[2]),
        entry(12, "val2017", incomplete=[1]),
        entry(13, "train2017"),
    ]
    truth = [
        label(1, 11, 1, box("red")),
        label(2, 12, 1, [100, 100, 40, 40]),
        label(3, 12, 2, box("green")),
        label(4, 13, 3, box("blue")),
    ]
    write(folder / "lvis_v1_val.json", val, truth, categories)
