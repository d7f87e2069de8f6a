"""The steps for Beam YAML: mistakes are told by the names of their fields, and rows that are not Kafka's are scored too."""

from __future__ import annotations

import pickle
from typing import Any, Optional

import apache_beam as beam
import pytest
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import named_fields_from_element_type

from tests.beam_run import run
from transforms.beam_yaml import ReadFromKafkaNative, ScoreWithModel, WriteToKafkaNative
from transforms.beam_yaml.score import RowFeatures, record_of
from transforms.kafka.native.rows import KafkaHeader, KafkaRow
from transforms.testing.tfserving.grpc_stub import TfServingGrpcStub

MODEL = "grpc://127.0.0.1:1/m"
SOURCE: dict[str, Any] = {"bootstrap_servers": "127.0.0.1:1", "topics": ["in"], "group_id": "g", "dead_letter_topic": "dead"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"topics": "in"}, r"ReadFromKafkaNative: topics: a list is needed; write topics: \[in\]"),
        ({"topics": []}, "ReadFromKafkaNative: topics: a list of names is needed"),
        ({"bootstrap_servers": 9092}, "ReadFromKafkaNative: bootstrap_servers: text is needed, not 9092"),
        ({"group_id": " "}, "ReadFromKafkaNative: group_id: text is needed"),
        ({"dead_letter_topic": ""}, "ReadFromKafkaNative: dead_letter_topic: text is needed"),
        ({"max_num_records": "5"}, "ReadFromKafkaNative: max_num_records: a whole number above 0 is needed, not '5'"),
        ({"max_num_records": True}, "max_num_records: a whole number"),
        ({"max_read_time": 0}, "ReadFromKafkaNative: max_read_time: a number above 0"),
        ({"consumer_config": ["a"]}, "ReadFromKafkaNative: consumer_config: a mapping"),
        ({"consumer_config": {"a": ["secret"]}}, "consumer_config: a: one value is needed, text or a number$"),
        ({"consumer_config": {"group.id": "x"}}, "consumer_config: group.id can't be set: it is the field group_id"),
        ({"consumer_config": {"enable.auto.commit": True}}, "consumer_config: enable.auto.commit can't be set"),
        ({"until_end": "yes"}, "ReadFromKafkaNative: until_end: true or false, not 'yes'"),
        ({"delivery": "at_most_once"}, "delivery: exactly_once or at_least_once, not 'at_most_once'"),
        ({"topic": "in"}, "unexpected keyword argument 'topic'"),
    ],
)
def test_mistakes_of_the_source(changed: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        ReadFromKafkaNative(**SOURCE | changed)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model": "grpc:/m"}, "ScoreWithModel: model: grpc:/m: unknown form"),
        ({"model": 5}, "ScoreWithModel: model: text is needed"),
        ({"on_unavailable": "wait"}, "ScoreWithModel: on_unavailable: hold, dead_letter or fail, not 'wait'"),
        ({"max_batch_size": 0}, "ScoreWithModel: max_batch_size: a whole number above 0"),
        ({"request_timeout_s": "1 s"}, "ScoreWithModel: request_timeout_s: a number above 0"),
        ({"outputs": "y"}, r"ScoreWithModel: outputs: a list is needed; write outputs: \[y\]"),
        ({"labels": [1]}, "ScoreWithModel: labels: a list of names"),
        ({"inputs": ["x"]}, "ScoreWithModel: inputs: a mapping"),
        ({"model_headers": {"authorization": ["secret"]}}, "ScoreWithModel: model_headers: authorization: one value"),
        ({"preprocess": "nowhere:f"}, "ScoreWithModel: preprocess=nowhere:f"),
    ],
)
def test_mistakes_of_the_model(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told) as raised:
        ScoreWithModel(**{"model": MODEL} | fields)
    assert "secret" not in str(raised.value)


def narrowed(row: Any) -> Any:
    return beam.Row(topic=row.topic, key=row.key)


def tagged(row: KafkaRow) -> Any:
    return beam.Row(**row._asdict(), number=row.offset)


TAGGED = RowTypeConstraint.from_fields([*KafkaRow.__annotations__.items(), ("number", int)])
NUMBERS = RowTypeConstraint.from_fields([("x", list[float])])


def test_a_sink_without_a_source() -> None:
    pipeline = beam.Pipeline()
    with pytest.raises(ValueError, match="WriteToKafkaNative: input: its rows do not come from ReadFromKafkaNative"):
        pipeline | beam.Create([beam.Row(value=b"1")]) | WriteToKafkaNative("out")


@pytest.mark.parametrize(
    ("between", "sink", "told"),
    [
        (beam.Map(narrowed).with_output_types(RowTypeConstraint.from_fields([("topic", str), ("key", bytes)])), {},
         r"input: the rows have no field partition, offset, timestamp_ms, headers; they have topic, key; .*append: true"),
        (beam.Map(lambda row: row.value), {}, "WriteToKafkaNative: its input has no schema"),
        (beam.Map(tagged).with_output_types(TAGGED), {"value": "number"}, "value: the field number is .*int.*neither text"),
        (beam.Map(tagged).with_output_types(TAGGED), {"value": "numbr"}, "value: the rows have no field numbr; they"),
        (beam.Reshuffle(), {}, "input: .*GroupByKey.* between ReadFromKafka"),
        (beam.Map(lambda row: row).with_output_types(KafkaRow), {"topic": ""}, "WriteToKafkaNative: topic: text is needed"),
    ],
)  # fmt: skip
def test_mistakes_of_the_sink(between: Any, sink: dict[str, Any], told: str) -> None:
    pipeline = beam.Pipeline()
    with pytest.raises(ValueError, match=told):
        pipeline | ReadFromKafkaNative(**SOURCE) | between | WriteToKafkaNative(**{"topic": "out"} | sink)


def test_the_fields_have_the_types_that_the_default_value_needs() -> None:
    """Beam had taken them for Any, so that the default of ``value`` was refused, as neither text nor bytes."""
    rows = beam.Pipeline() | ReadFromKafkaNative(**SOURCE)
    assert dict(named_fields_from_element_type(rows.element_type))["value"] == Optional[bytes]  # noqa: UP045
    rows | "Records" >> WriteToKafkaNative("out")
    scored = beam.Pipeline() | ReadFromKafkaNative(**SOURCE) | ScoreWithModel(MODEL)
    scored | "Predictions" >> WriteToKafkaNative("out")


def test_scored_rows_need_a_dead_letter_topic_and_keep_their_error() -> None:
    pipeline = beam.Pipeline()
    scored = pipeline | ReadFromKafkaNative(**SOURCE | {"dead_letter_topic": None}) | ScoreWithModel(MODEL)
    with pytest.raises(ValueError, match="give ReadFromKafkaNative a dead_letter_topic"):
        scored | WriteToKafkaNative("out")
    lost = beam.Map(lambda row: row).with_output_types(KafkaRow)
    with pytest.raises(ValueError, match=r"input: the rows have no field error_class; .*append: true"):
        beam.Pipeline() | ReadFromKafkaNative(**SOURCE) | ScoreWithModel(MODEL) | lost | WriteToKafkaNative("out")


def test_fields_of_the_rows() -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(x=[1.0])])
    with pytest.raises(ValueError, match="ScoreWithModel: inputs: the rows have no field amount; they have x"):
        rows | ScoreWithModel(MODEL, inputs={"x": "amount"})
    with pytest.raises(ValueError, match="ScoreWithModel: prediction: its input has a field of this name already"):
        rows | "Once" >> ScoreWithModel(MODEL) | "Twice" >> ScoreWithModel(MODEL)


def test_rows_from_elsewhere_are_scored_by_their_fields() -> None:
    def check(rows: list[Any]) -> None:
        assert [(row.x, row.prediction, row.version, row.error_class) for row in rows] == [
            ([1.0], '{"y":[2.5]}', "1", None),
            ([666.0], None, "", "Rejected"),
            ([3.0], '{"y":[3.5]}', "1", None),
        ]
        assert [row.error_message is None for row in rows] == [True, False, True]

    with TfServingGrpcStub() as stub:
        stub.faults.poison = lambda row: 666.0 in row["x"]
        rows = [beam.Row(x=[number]) for number in (1.0, 666.0, 3.0)]
        typed = beam.Map(lambda row: row).with_output_types(NUMBERS)
        run(rows, lambda created: created | typed | ScoreWithModel(stub.uri(), inputs={"x": "x"}), check)
        run(rows, lambda created: created | typed | ScoreWithModel(stub.uri()), check)


def test_elements_keep_their_rows_between_processes() -> None:
    row = KafkaRow("in", 1, 2, 3, b"k", b"v", [KafkaHeader("h", None)])
    record = record_of(row)
    assert pickle.loads(pickle.dumps(record)).row == row  # our own
    features = pickle.loads(pickle.dumps(RowFeatures({"x": 1}, row)))
    assert (features, features.row) == ({"x": 1}, row)
