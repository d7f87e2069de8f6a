"""The committed digits model, its images, and how it treats images that are broken."""

from __future__ import annotations

import base64
import json

import grpc
import numpy as np
import pytest

from pipeline.embedded.digits import IMAGES_PATH, MODEL_DIR, load_digits
from pipeline.embedded.generator import grey_png
from tests.pipeline.embedded.rpc import failure, predict, strings
from tests.pipeline.embedded.servers import Served
from transforms.clients.tfserving import messages


def test_images_are_scikit_learns() -> None:
    """All 1,797 images and labels are those of scikit-learn, pixel by pixel."""
    import io

    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is for development only")
    image = pytest.importorskip("PIL.Image", reason="Pillow is for development only")
    source = datasets.load_digits()
    digits = load_digits()
    pixels = np.stack([np.asarray(image.open(io.BytesIO(digit.png))) for digit in digits])
    assert (np.rint(pixels * (16 / 255)) == source.images).all()
    assert [digit.label for digit in digits] == source.target.tolist()
    assert sum(digit.held_out for digit in digits) == 360


def test_data_is_small() -> None:
    """What is committed stays under 1 MB each."""
    assert IMAGES_PATH.stat().st_size < 1_000_000
    assert sum(path.stat().st_size for path in (MODEL_DIR / "1").rglob("*") if path.is_file()) < 1_000_000


def test_accuracy_on_held_out_images(channel: grpc.Channel) -> None:
    """At least 97% of the images that training never saw, through the server, by both signatures."""
    held_out = [digit for digit in load_digits() if digit.held_out]
    labels = np.array([digit.label for digit in held_out])
    got = predict(channel, "digits", image_bytes=strings(*(digit.png for digit in held_out)))
    assert got["label"].dtype == np.int64
    assert got["scores"].shape == (len(held_out), 10)
    assert np.mean(got["label"] == labels) >= 0.97
    assert np.allclose(got["scores"].sum(axis=1), 1, atol=1e-5)
    assert (got["scores"].argmax(axis=1) == got["label"]).all()


def test_numeric_signature_agrees(channel: grpc.Channel) -> None:
    """Pixels of 0 to 16 give what the image of them gives."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is for development only")
    pixels = datasets.load_digits().images[:100].astype(np.float32)
    numeric = predict(channel, "digits", "pixels", pixels=pixels)
    encoded = predict(channel, "digits", image_bytes=strings(*(digit.png for digit in load_digits()[:100])))
    assert (numeric["label"] == encoded["label"]).all()
    assert np.allclose(numeric["scores"], encoded["scores"], atol=1e-5)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"", "Input is empty"),
        (b'{"image": 1}', "Unknown image file format"),
        (load_digits()[0].png[:60], "Invalid PNG"),
        (grey_png(512, 512), "must be 8 by 8 pixels"),
        (grey_png(8, 7), "must be 8 by 8 pixels"),
    ],
    ids=["empty", "json", "truncated", "oversized", "wrong_height"],
)
def test_broken_images_are_refused(channel: grpc.Channel, value: bytes, message: str) -> None:
    """One broken image refuses the whole request as INVALID_ARGUMENT, without its bytes in the message."""
    request = messages.PredictRequest()
    request.model_spec.name = "digits"
    tensor = request.inputs["image_bytes"]
    tensor.dtype = 7
    tensor.string_val.extend([load_digits()[0].png, value])
    tensor.tensor_shape.dim.add(size=2)
    code, text = failure(channel, messages.PREDICT, request)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert message in text


def test_over_rest(served: Served) -> None:
    """Images go as {"b64"}, whose input name ends in _bytes."""
    digits = load_digits()[:5]
    instances = [{"b64": base64.b64encode(digit.png).decode()} for digit in digits]
    status, body = served.rest("/v1/models/digits:predict", {"instances": instances})
    assert status == 200
    assert [row["label"] for row in json.loads(body)["predictions"]] == [digit.label for digit in digits]
    named = {"instances": [{"image_bytes": instance} for instance in instances]}
    assert json.loads(served.rest("/v1/models/digits:predict", named)[1]) == json.loads(body)
