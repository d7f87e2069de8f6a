"""Rules of the model's flags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.cli.config import Config
from pipeline.cli.flag import Values

if TYPE_CHECKING:
    from transforms.clients.json_bodies.form import Form


def class_names(config: Config, values: Values) -> Iterator[str]:
    """The best classes are written by their names."""
    if "top_k" in values.given and "labels" not in values.given:
        yield "--top_k: needs --labels"


def json_endpoint(config: Config, values: Values) -> Iterator[str]:
    """Only a JSON endpoint has a request of the user's own, unless it takes bytes."""
    given = [name for name in ("request", "response") if name in values.given]
    if not given:
        return
    form = _form(config.model)
    if form is None:
        for name in given:
            yield (
                f"--{name}: is for --model=json+http://…, sagemaker://… and vertex://…?raw=json, whose requests and answers "
                "have any form"
            )
    elif config.request is not None and form.body not in (None, "csv"):
        yield "--request: is a JSON document, and --model says that records are sent as bytes; leave one out"


def _form(model: str) -> Form | None:
    """The form of the requests of a model that takes any; ``None`` if its protocol has one of its own."""
    if model.startswith(("json+http://", "json+https://")):
        from transforms.clients.json_http.uri import parse  # here: it loads aiohttp, which no other model needs yet

        return parse(model).form
    if model.startswith("vertex://"):
        from transforms.clients.vertex.uri import parse as parse_vertex

        return parse_vertex(model).raw
    if model.startswith("sagemaker://"):
        from transforms.clients.sagemaker.uri import parse as parse_sagemaker

        return parse_sagemaker(model).form
    return None


def chat_model(config: Config, values: Values) -> Iterator[str]:
    """Only a chat has a system message, and answers whose form can be asked for."""
    if config.system_prompt is None and config.answer_schema is None:
        return
    from transforms.clients.openai.uri import CHAT, parse  # here: it loads yarl, which no other model needs yet

    if config.model.startswith(("openai+http://", "openai+https://")) and parse(config.model).task == CHAT:
        return
    if config.system_prompt is not None:
        yield "--system_prompt: is for --model=openai+http://…?task=chat; elsewhere write it into --prompt"
    if config.answer_schema is not None:
        yield "--answer_schema: is for --model=openai+http://…?task=chat; leave it out, or ask the model by task=chat"


def token_limit(config: Config, values: Values) -> Iterator[str]:
    """Only a language model's server counts tokens."""
    if config.token_limit is not None and not config.model.startswith(("openai+http://", "openai+https://")):
        yield "--token_limit: is for --model=openai+http://…, whose servers count tokens; use --rate_limit"


def client_certificate(config: Config, values: Values) -> Iterator[str]:
    """A certificate is of no use without its key."""
    if ("model_cert_file" in values.given) != ("model_key_file" in values.given):
        yield "--model_cert_file and --model_key_file: give both or neither"
