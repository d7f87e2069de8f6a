"""Trains the digits model and writes it as a SavedModel: ``python -m examples.digits.train``.

A small convolutional network in plain TensorFlow, trained on the images that ``make_images`` did not hold out. Two
signatures share the outputs ``label`` (int64 [-1]) and ``scores`` (float32 [-1, 10], probabilities):

* ``serving_default``: ``image_bytes``, string [-1]: encoded 8 by 8 PNG images. The graph decodes them, so an image that
  is broken or of another size makes the request fail with INVALID_ARGUMENT.
* ``pixels``: ``pixels``, float32 [-1, 8, 8], values 0 to 16 as in scikit-learn.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from pipeline.embedded.digits import IMAGES_PATH, LEVELS, MODEL_DIR, load_digits

SEED = 20240501
EPOCHS = 60
BATCH = 64
CLASSES = 10
SIZE = 8
LEARNING_RATE = 2e-3
DROPOUT = 0.3
MIN_ACCURACY = 0.97


class DigitsModel(tf.Module):
    """Two convolutions, one hidden layer; about 38,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        init = tf.random.Generator.from_seed(SEED)

        def weights(*shape: int) -> tf.Variable:
            fan_in = int(np.prod(shape[:-1]))
            return tf.Variable(init.normal(shape) * np.sqrt(2 / fan_in).astype(np.float32))

        self.conv1, self.bias1 = weights(3, 3, 1, 16), tf.Variable(tf.zeros(16))
        self.conv2, self.bias2 = weights(3, 3, 16, 32), tf.Variable(tf.zeros(32))
        self.dense1, self.bias3 = weights(4 * 4 * 32, 64), tf.Variable(tf.zeros(64))
        self.dense2, self.bias4 = weights(64, CLASSES), tf.Variable(tf.zeros(CLASSES))

    def logits(self, pixels: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Maps pixels, float32 [n, 8, 8] with values 0 to 16, to logits, float32 [n, 10]."""
        x = tf.expand_dims(pixels / LEVELS, -1)
        x = tf.nn.relu(tf.nn.conv2d(x, self.conv1, 1, "SAME") + self.bias1)
        x = tf.nn.relu(tf.nn.conv2d(x, self.conv2, 1, "SAME") + self.bias2)
        x = tf.reshape(tf.nn.max_pool2d(x, 2, 2, "SAME"), [-1, 4 * 4 * 32])
        if training:
            x = tf.nn.dropout(x, DROPOUT)
        x = tf.nn.relu(x @ self.dense1 + self.bias3)
        return x @ self.dense2 + self.bias4

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE], tf.float32, "pixels")])
    def score_pixels(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature ``pixels``."""
        logits = self.logits(pixels)
        return {"label": tf.argmax(logits, axis=-1), "scores": tf.nn.softmax(logits)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def score_images(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """The signature ``serving_default``."""
        spec = tf.TensorSpec([SIZE, SIZE], tf.float32)
        scored: dict[str, tf.Tensor] = self.score_pixels(tf.map_fn(decode, image_bytes, fn_output_signature=spec))
        return scored


def decode(png: tf.Tensor) -> tf.Tensor:
    """Decodes one PNG to pixels, float32 [8, 8], values 0 to 16; fails if it is not an 8 by 8 image."""
    image = tf.io.decode_png(png, channels=1)
    shape = tf.shape(image)
    message = f"an image must be {SIZE} by {SIZE} pixels, but its height, width and channels are"
    check = tf.debugging.Assert(tf.reduce_all(tf.equal(shape, [SIZE, SIZE, 1])), [message, shape])
    with tf.control_dependencies([check]):
        return tf.round(tf.cast(tf.reshape(image, [SIZE, SIZE]), tf.float32) * (LEVELS / 255))


def train(pixels: np.ndarray, labels: np.ndarray) -> DigitsModel:
    """Trains on ``pixels``, float32 [n, 8, 8], and ``labels``, int [n], with Adam and a cosine decay of the rate."""
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    model = DigitsModel()
    steps = EPOCHS * (len(labels) // BATCH)
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps))
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model.logits(x, training=True))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    data = tf.data.Dataset.from_tensor_slices((pixels, labels)).shuffle(len(labels), seed=SEED)
    for epoch in range(1, EPOCHS + 1):
        loss = np.mean([step(x, y).numpy() for x, y in data.batch(BATCH, drop_remainder=True)])
        if epoch % 10 == 0:
            print(f"epoch {epoch:3d} of {EPOCHS}: loss {loss:.4f}")
    return model


def accuracy(model: DigitsModel, pngs: list[bytes], labels: np.ndarray) -> float:
    """How many of ``pngs`` the exported signature labels right, 0 to 1."""
    return float(np.mean(model.score_images(tf.constant(pngs))["label"].numpy() == labels))


def save(model: DigitsModel, base_dir: Path, version: int = 1) -> Path:
    """Writes ``base_dir/version`` anew and returns that folder."""
    target = base_dir / str(version)
    shutil.rmtree(target, ignore_errors=True)
    signatures = {"serving_default": model.score_images, "pixels": model.score_pixels}
    tf.saved_model.save(model, str(target), signatures=signatures)
    return target


def main() -> None:
    """Trains, prints the held-out accuracy and writes the model.

    Raises:
        SystemExit: Fewer than 97% of the held-out images came out right; nothing is written then.
    """
    parser = argparse.ArgumentParser(description="Train the digits model and write it as a SavedModel.")
    parser.add_argument("--images", type=Path, default=IMAGES_PATH, help="zip file of make_images (default: %(default)s)")
    parser.add_argument(
        "--model_dir", type=Path, default=MODEL_DIR, help="folder of the version folder (default: %(default)s)"
    )
    args = parser.parse_args()

    digits = load_digits(args.images)
    pixels = np.stack([decode(tf.constant(d.png)).numpy() for d in digits])
    labels = np.array([d.label for d in digits])
    held_out = np.array([d.held_out for d in digits])
    model = train(pixels[~held_out], labels[~held_out])

    share = accuracy(model, [d.png for d in digits if d.held_out], labels[held_out])
    print(f"held-out accuracy: {share:.2%} of {held_out.sum()} images (trained on {(~held_out).sum()})")
    if share < MIN_ACCURACY:
        raise SystemExit(f"below {MIN_ACCURACY:.0%}: not written")
    target = save(model, args.model_dir)
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
    print(f"{size:,} bytes: {target}")


if __name__ == "__main__":
    main()
