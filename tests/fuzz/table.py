"""The targets by name, and where their inputs are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.fuzz.targets import answers, records, texts

FOLDER = Path(__file__).parent
CORPUS, FINDINGS = FOLDER / "corpus", FOLDER / "findings"
"""Inputs that reach all that is reached, and those that once broke a promise: a folder for each target, in git."""

_FUNCTIONS: tuple[Callable[[bytes], None], ...] = (
    records.json_record,
    records.avro_container,
    records.avro_datum,
    records.protobuf,
    records.registry_answers,
    records.npy,
    records.decoder,
    answers.tfserving_grpc,
    answers.oip_grpc,
    answers.vertex,
    answers.mlflow,
    answers.json_http,
    answers.sagemaker,
    texts.model_uri,
    texts.feature_paths,
    texts.waits,
    texts.error_texts,
    texts.bodies_and_headers,
)

TARGETS: dict[str, Callable[[bytes], None]] = {
    **{function.__name__: function for function in _FUNCTIONS},
    "tfserving_rest": answers.tfserving_rest,
    "oip_rest": answers.oip_rest,
    "multi_model_server": answers.multi_model_server,
    "openai_embeddings": answers.openai_embeddings,
}


def kept_inputs(folder: Path, target: str) -> list[Path]:
    """The files that are kept for one target, in order."""
    return sorted(path for path in (folder / target).glob("*") if path.is_file())
