"""The demo's data: scikit-learn's 1,797 handwritten digits as PNG files, and the model trained on them.

Both are data of this package, made by ``python -m examples.digits.make_images`` and ``python -m examples.digits.train``,
so that neither scikit-learn nor Pillow is needed to run the demo.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

DIGITS_DIR = Path(__file__).parent / "data" / "digits"
IMAGES_PATH = DIGITS_DIR / "images.zip"
MODEL_DIR = DIGITS_DIR / "model"
"""The model's base folder, with the version folder ``1`` in it, the layout that TensorFlow Serving expects."""

MODEL_NAME = "digits"
LABELS_MEMBER = "labels.json"
LEVELS = 16
"""scikit-learn's pixels are integers from 0 to 16; in the PNG files they are spread over 0 to 255."""


@dataclasses.dataclass(frozen=True, slots=True)
class Digit:
    """One handwritten digit.

    Attributes:
        name: A stable id with scikit-learn's index, such as ``digit-0042``.
        png: The image, 8 by 8 pixels, 8 bit grey, encoded as PNG.
        label: The true digit, 0 to 9.
        held_out: Whether the digit was held out of the training.
    """

    name: str
    png: bytes
    label: int
    held_out: bool


def load_digits(path: Path = IMAGES_PATH) -> list[Digit]:
    """Reads all digits, in scikit-learn's order.

    Raises:
        FileNotFoundError: The package's data is missing; the message says how to make it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read(LABELS_MEMBER))
            held_out = set(index["held_out"])
            return [
                Digit(name := f"digit-{i:04d}", archive.read(f"{name}.png"), label, i in held_out)
                for i, label in enumerate(index["labels"])
            ]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing: make it with `python -m examples.digits.make_images`") from error
