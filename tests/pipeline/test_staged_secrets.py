"""Which secrets travel to workers, and in what: each only with the stage that opens the connection, in no text beside it."""

from __future__ import annotations

import pickle

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.display import DisplayData

from pipeline.build import build
from pipeline.checking.contract import client_options, formats, kafka_config
from pipeline.cli.config import Config
from pipeline.job import Job
from tests.fake_model import signature
from tests.pipeline.cli.parsing import OWN, parse
from transforms.kafka.stop import StopConditions
from transforms.predict.dofn import PredictChunks, PredictConfig
from transforms.stages import DecodeChunks, EncodeChunks
from transforms.types import ModelMetadata

KAFKA, MODEL, REGISTRY = (f"planted-{name}-8d24" for name in ("kafka", "model", "registry"))
SECRETS = (KAFKA, MODEL, REGISTRY)


@pytest.fixture(scope="module")
def config() -> Config:
    return parse(
        *OWN,
        "--kafka_config=security.protocol=SASL_PLAINTEXT",
        "--kafka_config=sasl.mechanism=PLAIN",
        "--kafka_config=sasl.username=u",
        "--kafka_config=sasl.password=${KAFKA}",
        "--model_header=authorization=Bearer ${MODEL}",
        "--input_format=avro",
        "--schema_registry=http://h:1",
        "--schema_registry_config=basic.auth.user.info=u:${REGISTRY}",
        environ={"KAFKA": KAFKA, "MODEL": MODEL, "REGISTRY": REGISTRY},
    )


@pytest.fixture(scope="module")
def job(config: Config) -> Job:
    model = ModelMetadata("m", "1", signature((-1, -1)))
    decode, encode = formats(config, model, None)
    predict = PredictConfig(config.model, model, client_options(config))
    return Job(kafka_config(config, "0"), StopConditions(), decode, predict, encode)


def held(value: object) -> set[str]:
    pickled = pickle.dumps(value)
    return {secret for secret in SECRETS if secret.encode() in pickled}


def test_each_secret_travels_with_the_stage_that_needs_it_alone(job: Job) -> None:
    assert held(job.kafka) == {KAFKA}
    assert held(job.decode) == {REGISTRY}
    assert held(job.predict) == {MODEL}
    assert held((job.encode, job.stop)) == set()


def test_none_is_in_what_a_runner_shows(job: Job) -> None:
    """Beam's pages, and those of Flink and Dataflow, show names, options and display data; logs show the job's text."""
    pipeline = beam.Pipeline(options=PipelineOptions([]))
    build(pipeline, job)
    proto = pipeline.to_runner_api()
    shown = [repr(job), str(job.kafka), str(pipeline.options.get_all_options())]
    for transform in proto.components.transforms.values():
        shown += [transform.unique_name, str(transform.display_data), str(transform.annotations)]
    for stage in (DecodeChunks(job.decode, None), PredictChunks(job.predict, None), EncodeChunks(job.encode)):
        shown += [str(DisplayData.create_from(stage).items), repr(stage)]
    assert [text for text in shown if any(secret in text for secret in SECRETS)] == []


def test_none_is_in_the_text_of_the_flags(config: Config) -> None:
    assert not [secret for secret in SECRETS if secret in repr(config)]
