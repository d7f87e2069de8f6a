"""Checks the flags for ``--runner=DataflowRunner``, before any server is asked and any file is staged.

Everyone who may see a Dataflow job sees its options and its graph, and the staged files keep them for years. So a job must
hold no secret: a secret property or header is given as ``${secret:projects/P/secrets/S/versions/V}``, which the worker
resolves.

Source: https://cloud.google.com/dataflow/docs/reference/pipeline-options.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence

from pipeline.cli.beam_values import beam_values
from pipeline.cli.config import Config
from pipeline.cli.names import DATAFLOW
from transforms.secret_manager import FORM, is_reference

_SECRET = re.compile(
    r"passw|secret|token|credential|jaas|private|key\.pem|keystore\.pem|user\.info|authorization|x-auth|cookie|api[-_.]?key|"
    r"oauthbearer\.config|oauthbearer\.assertion",
    re.IGNORECASE,
)
_HARMLESS = re.compile(r"(\.(url|ms|method|mechanisms?|source|scope|id|algorithm|uri)|auth\.type)$", re.IGNORECASE)

JOB_NAME = re.compile(r"[a-z]([-a-z0-9]{0,1022}[a-z0-9])?")
LABEL = re.compile(r"[a-z][-_a-z0-9]{0,62}(=[-_a-z0-9]{0,63})?")


def is_secret(name: str) -> bool:
    """Whether a property or a header of this name holds a secret."""
    return _SECRET.search(name) is not None and _HARMLESS.search(name) is None


def dataflow_mistakes(config: Config, from_environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the mistakes that prevent this job from running on Dataflow.

    Args:
        config: All flags.
        from_environment: The flags in which ``${ENV}`` was replaced, to the variable's name; such values are often secrets.
    """
    yield from missing_packages()
    yield from _places(config.beam_args)
    yield from _workers(config)
    yield from _secrets(config, from_environment)


def missing_packages() -> Iterator[str]:
    """Tells whether Beam's part for Google Cloud can't run here for want of its packages."""
    if importlib.util.find_spec("apitools") is None:
        yield f"--runner={DATAFLOW}: Google Cloud's packages are missing (apitools): pip install 'kafka-model-scoring[gcp]'"


def _places(beam_args: Sequence[str]) -> Iterator[str]:
    for name, cure in (("project", "the Google Cloud project"), ("region", "where it runs, such as europe-west1")):
        if not beam_values(beam_args, name):
            yield f"--{name}: {DATAFLOW} needs {cure}"
    places = beam_values(beam_args, "temp_location", "staging_location")
    if not beam_values(beam_args, "temp_location"):
        yield "--temp_location: DataflowRunner needs gs://BUCKET/PATH, where the job's files are staged"
    for place in places:
        if not re.fullmatch(r"gs://[a-z0-9][-_.a-z0-9]{1,220}[a-z0-9](/.*)?", place):
            yield f"--temp_location, --staging_location={place}: give gs://BUCKET/PATH"
    for name in beam_values(beam_args, "job_name"):
        if not JOB_NAME.fullmatch(name):
            yield f"--job_name={name}: lower-case letters, digits and '-', beginning with a letter, ending with none of '-'"
    if beam_values(beam_args, "update") and not beam_values(beam_args, "job_name"):
        yield "--update: name the running job by --job_name"
    for label in beam_values(beam_args, "label"):
        if not label.startswith("{") and not LABEL.fullmatch(label):
            yield f"--label={label}: give key=value of lower-case letters, digits, '-' and '_', at most 63 of each"


def _workers(config: Config) -> Iterator[str]:
    image = beam_values(config.beam_args, "sdk_container_image", "worker_harness_container_image")
    setup = beam_values(config.beam_args, "setup_file")
    if not image and not setup:
        yield (
            "--sdk_container_image: Dataflow's workers need this package; give an image with it (deploy/Dockerfile, target "
            "worker), or --setup_file=./setup.py to have it installed whenever a worker starts"
        )
    local_model = config.model_in_worker and not config.model_read_by_beam
    for flag, path in (
        ("model_ca_file", config.model_ca_file),
        ("model_cert_file", config.model_cert_file),
        ("model_key_file", config.model_key_file),
        (
            "model",
            config.model.removeprefix("saved_model://") if local_model else None,
        ),
    ):
        if path is not None and not image:
            cure = "; or use saved_model://gs://BUCKET/PATH" if flag == "model" else ""
            yield f"--{flag}: {path} is not on Dataflow's workers; put it into an image, --sdk_container_image{cure}"
    for name, _ in config.kafka_properties if config.with_java or not image else ():
        if name.endswith(".location") and name.startswith("ssl."):
            pem = name.removesuffix(".location") + ".pem"
            yield (
                f"--kafka_config {name}: a file here is not on Dataflow's workers; give its content by {pem}="
                f"{FORM if 'key' in name else 'the PEM text'}"
            )


def _secrets(config: Config, from_environment: Mapping[str, str]) -> Iterator[str]:
    registry = config.formats.registry
    for flag, pairs in (
        ("kafka_config", config.kafka_properties),
        ("model_header", config.model_headers),
        ("schema_registry_config", registry.properties if registry else ()),
    ):
        for name, value in pairs:
            variable = from_environment.get(f"{flag} {name}")
            if variable is not None or (is_secret(name) and not is_reference(value)):
                why = f"comes from the environment variable {variable}" if variable else "is a secret"
                yield (
                    f"--{flag} {name}: {why}, and everybody who may see the Dataflow job would read it; store it in Secret "
                    f"Manager and give {name}={FORM}, which the workers resolve"
                )
