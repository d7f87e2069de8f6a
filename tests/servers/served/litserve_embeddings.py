"""An app of LitServe with its OpenAI embedding spec: a vector of letter counts for each text, batched by the client.

python litserve_embeddings.py PORT
"""

from __future__ import annotations

import sys

import litserve as ls  # type: ignore[import-not-found]  # only there
from fastapi import HTTPException  # type: ignore[import-not-found]  # only there

MOST = 32


class Embeddings(ls.LitAPI):
    """Refuses a text, and a batch of more than ``MOST`` texts in words of text-embeddings-inference."""

    def setup(self, device: str) -> None:
        """There is nothing to load."""

    def predict(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        if len(texts) > MOST:
            raise HTTPException(413, f"batch size {len(texts)} > maximum allowed batch size {MOST}")
        if any("poison" in text for text in texts):
            raise HTTPException(422, "one of the texts can't be embedded")
        return [[float(len(text)), *(float(text.count(letter)) for letter in "eaionst")] for text in texts]


if __name__ == "__main__":
    api = Embeddings(spec=ls.OpenAIEmbeddingSpec())
    ls.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
