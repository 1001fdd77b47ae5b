"""Makes docs/images/loop.gif: masks, bank, trial, review, export, as the App shows them.

``make gif`` runs it. The frames are the pictures that ``tests/e2e/test_review_loop.py`` takes of
the real App while it goes through the loop by clicks::

    make test TESTS=tests/e2e/test_review_loop.py PYTEST_ARGS=--screenshots=FOLDER
    .venv/bin/python docs/make_gif.py FOLDER
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FRAMES = {
    "review_1_masks": "1. Boxes become masks, the worst ones first",
    "review_2_build": "2. A memory bank learns them, without training",
    "review_3_tried": "3. Try it on six images: nothing is written",
    "review_4_page": "4. Review: 24 labels at a time, the most doubtful first",
    "review_4_clicked": "5. Click what is wrong, Next approves the rest",
    "review_5_reviewed": "6. A hundred labels in a dozen clicks",
    "review_6_accepted": "7. Accept: plain labels in a field of your own; then export them",
}
WIDTH = 840
"""Pixels; the pictures are 1400 wide."""
SECONDS = 2.5
COLOURS = 96
MOST_BYTES = 3_000_000
_BAR, _TEXT = (255, 109, 4), (255, 255, 255)


def main() -> None:
    """Join the pictures of the App into one moving picture."""
    parser = argparse.ArgumentParser("docs/make_gif.py", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures of the App are")
    default = Path(__file__).parent / "images" / "loop.gif"
    parser.add_argument("--to", type=Path, default=default, help=f"the file (default: {default})")
    options = parser.parse_args()
    missing = [name for name in FRAMES if not (options.folder / f"{name}.png").is_file()]
    if missing:
        sys.exit(f"Not in {options.folder}: {', '.join(missing)}. Run the e2e test first.")
    frames = [_frame(options.folder / f"{name}.png", words) for name, words in FRAMES.items()]
    frames[0].save(
        options.to,
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 * SECONDS),
        loop=0,
        optimize=True,
    )
    size = options.to.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{options.to} has {size:,} bytes, more than {MOST_BYTES:,}.")
    print(f"{options.to}: {size:,} bytes")


def _frame(path: Path, words: str) -> Image.Image:
    """A picture of the App at the moving picture's size, with words below it."""
    with Image.open(path) as picture:
        shown = picture.convert("RGB")
    height = round(shown.height * WIDTH / shown.width)
    shown = shown.resize((WIDTH, height), Image.Resampling.LANCZOS)
    frame = Image.new("RGB", (WIDTH, height + 40), _BAR)
    frame.paste(shown, (0, 0))
    font = ImageFont.load_default(size=20)
    ImageDraw.Draw(frame).text((14, height + 9), words, fill=_TEXT, font=font)
    return frame.quantize(COLOURS, dither=Image.Dither.NONE)


if __name__ == "__main__":
    main()
