"""Writes scikit-learn's 1,797 handwritten digits as PNG files into one zip file: ``python -m examples.digits.make_images``.

The digits are the test set of the "Optical Recognition of Handwritten Digits" data of the UCI repository (E. Alpaydin,
C. Kaynak, 1998, CC BY 4.0), which scikit-learn ships. Needs scikit-learn and Pillow (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.embedded.digits import IMAGES_PATH, LABELS_MEMBER, LEVELS

SPLIT_SEED = 7
HELD_OUT = 360
"""How many images the training never sees: a fifth, chosen by ``SPLIT_SEED``."""

_TIMESTAMP = (1998, 7, 1, 0, 0, 0)  # fixed, so that two runs give the same bytes


def to_png(pixels: np.ndarray) -> bytes:
    """Encodes one image of shape [8, 8] with values 0 to 16 as an 8 bit grey PNG."""
    grey = np.rint(pixels * (255 / LEVELS)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_images(path: Path = IMAGES_PATH) -> int:
    """Writes all images, their labels and the split to the zip file ``path``; returns how many images."""
    digits = load_digits()
    held_out = np.sort(np.random.default_rng(SPLIT_SEED).permutation(len(digits.target))[:HELD_OUT])
    index = {"labels": digits.target.tolist(), "held_out": held_out.tolist()}
    path.parent.mkdir(parents=True, exist_ok=True)
    # Stored, not compressed: the PNG files are compressed already, and reading is quicker.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(LABELS_MEMBER, _TIMESTAMP), json.dumps(index, separators=(",", ":")))
        for i, pixels in enumerate(digits.images):
            archive.writestr(zipfile.ZipInfo(f"digit-{i:04d}.png", _TIMESTAMP), to_png(pixels))
    return len(digits.images)


def main() -> None:
    """Writes the zip file and says what it holds."""
    parser = argparse.ArgumentParser(description="Write scikit-learn's digits as PNG files into one zip file.")
    parser.add_argument("--output", type=Path, default=IMAGES_PATH, help="the zip file to write (default: %(default)s)")
    output = parser.parse_args().output
    count = write_images(output)
    print(f"{count} images, {output.stat().st_size:,} bytes: {output}")


if __name__ == "__main__":
    main()
