"""Makes ``tests/pipeline/embedded/models/kinds/1``, a SavedModel with one signature for each thing a client must cope with.

    python -m tests.pipeline.embedded.make_models

The file is committed; the script is how it was made.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests.pipeline.embedded.servers import DTYPES, KINDS_DIR


class Kinds(tf.Module):
    """Holds a table, which only the model's initialisation fills."""

    def __init__(self) -> None:
        super().__init__()
        entries = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(entries, -1)

    def signatures(self) -> dict[str, Any]:
        """Returns name to concrete function."""

        def function(body: Any, **specs: tf.TensorSpec) -> Any:
            named = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}
            return tf.function(body).get_concrete_function(**named)

        floats, ints, strings = (tf.TensorSpec([None], kind) for kind in (tf.float32, tf.int64, tf.string))
        matrix = tf.TensorSpec([None, None], tf.float32)
        found = {
            "serving_default": function(  # several inputs and outputs
                lambda a, b: {"total": tf.reduce_sum(a, 1) + tf.cast(b, tf.float32), "doubled": 2 * b},
                a=tf.TensorSpec([None, 2], tf.float32),
                b=ints,
            ),
            "strings": function(lambda text: {"text": tf.identity(text), "raw_bytes": tf.identity(text)}, text=strings),
            "one_string": function(lambda text: {"shout": tf.strings.upper(text)}, text=strings),
            "lookup": function(lambda text: {"id": self.table.lookup(text)}, text=strings),
            "ragged": function(lambda x: {"total": tf.reduce_sum(x, 1)}, x=matrix),  # rows of any length
            "fixed": function(lambda x: {"y": x + 1}, x=tf.TensorSpec([4], tf.float32)),  # a batch of 4, no other
            "total": function(lambda x: {"total": tf.reduce_sum(x)}, x=floats),  # a scalar for the whole batch
            "halves": function(lambda x: {"y": x[: tf.shape(x)[0] // 2]}, x=floats),  # a short answer
            "positive": function(self._positive, x=floats),  # refuses the request for one negative row
            "defaults": function(lambda x, y: {"total": x + y}, x=floats, y=floats),  # y may be left out, see below
        }
        for name in DTYPES:
            spec = tf.TensorSpec([None], tf.as_dtype(name))
            found[f"echo_{name}"] = function(lambda x: {"y": tf.identity(x)}, x=spec)
        return found

    @staticmethod
    def _positive(x: tf.Tensor) -> dict[str, tf.Tensor]:
        check = tf.debugging.Assert(tf.reduce_all(x >= 0), ["every x must be 0 or more"])
        with tf.control_dependencies([check]):
            return {"root": tf.sqrt(x)}


def main() -> None:
    """Writes the model anew."""
    target = KINDS_DIR / "1"
    shutil.rmtree(target, ignore_errors=True)
    model = Kinds()
    tf.saved_model.save(model, str(target), signatures=model.signatures())
    path = target / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signature = saved.meta_graphs[0].signature_def["defaults"]
    signature.defaults["y"].CopyFrom(tf.make_tensor_proto([10.0], dtype=tf.float32))
    path.write_bytes(saved.SerializeToString(deterministic=True))
    print(f"{sum(f.stat().st_size for f in target.rglob('*') if f.is_file()):,} bytes: {target}")


if __name__ == "__main__":
    main()
