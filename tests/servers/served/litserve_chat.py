"""An app of LitServe with its OpenAI spec: a chat model that says each message again, in capital letters.

python litserve_chat.py PORT
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import litserve as ls  # type: ignore[import-not-found]  # only there
from fastapi import HTTPException  # type: ignore[import-not-found]  # only there


class Chat(ls.LitAPI):
    """Refuses a message with the word ``poison``, and counts words as tokens."""

    def setup(self, device: str) -> None:
        """There is nothing to load."""

    def predict(self, request: Any) -> Iterator[dict[str, Any]]:
        """The answer, as one piece."""
        said = request.messages[-1].content
        if "poison" in said:
            raise HTTPException(400, "this message can't be answered")
        count = len(said.split())
        tokens = {"prompt_tokens": count, "completion_tokens": count, "total_tokens": 2 * count}
        yield {"role": "assistant", "content": said.upper(), **tokens}


if __name__ == "__main__":
    api = Chat(spec=ls.OpenAISpec())
    ls.LitServer(api, accelerator="cpu").run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
