"""Every dead-letter class of this project: its name, the stage that fails, and why.

The name is the header ``inference.error.class`` of a dead letter and ``Failure.error_class`` of a ``RunInference`` result.
Names are stable: consumers filter by them. A new class is a member here. ``python -m transforms.reference`` has the table.
Pipelines may write dead letters of classes of their own: ``DeadLetters`` takes a ``Failure`` with any name.
"""

from __future__ import annotations

import enum

from transforms.types import STAGE_DECODE, STAGE_ENCODE, STAGE_PREDICT, STAGE_WRITE, Failure


class DeadLetterClass(enum.Enum):
    """A class of dead letters.

    Attributes:
        error_class: The name.
        stage: The stage that fails: ``decode``, ``predict``, ``encode`` or ``write``.
        stages: All stages that fail so; mostly only ``stage``.
        description: One sentence: what was wrong.
    """

    def __init__(self, name: str, stage: str, description: str, *other_stages: str):
        self.error_class = name
        self.stage = stage
        self.stages = (stage, *other_stages)
        self.description = description

    def failure(self, message: str, attempts: int = 0, stage: str | None = None) -> Failure:
        """Returns the failure of one record.

        Args:
            message: What was wrong, where, and what was expected. Never the payload's bytes.
            attempts: How many requests the record was part of.
            stage: The stage that failed, where ``stages`` has several.
        """
        return Failure(stage or self.stage, self.error_class, message, attempts)

    HEADER_ERROR = "HeaderError", STAGE_DECODE, "The headers can't be read: a name is not UTF-8."
    TOMBSTONE = "Tombstone", STAGE_DECODE, "The value is null (a tombstone)."
    EMPTY_VALUE = "EmptyValue", STAGE_DECODE, "The value has no bytes."
    JSON_ERROR = "JsonError", STAGE_DECODE, "The value is not JSON, or not UTF-8."
    FIELD_ERROR = "FieldError", STAGE_DECODE, "A field is missing, or its type or shape does not fit the model's signature."
    EXAMPLE_ERROR = "ExampleError", STAGE_DECODE, "The value is not a serialized `tf.Example` with features."
    NPY_ERROR = "NpyError", STAGE_DECODE, "The value is not a `.npy` file, or one of a kind that is not read."
    AVRO_ERROR = "AvroError", STAGE_DECODE, "The value does not have the form that its Avro schema describes."
    PROTOBUF_ERROR = "ProtobufError", STAGE_DECODE, "The value does not have the form that its Protobuf schema describes."
    FRAME_ERROR = "FrameError", STAGE_DECODE, "The value does not begin with a schema registry's frame."
    SCHEMA_ERROR = "SchemaError", STAGE_DECODE, "The schema can't be used, or can't be read as the one of `--avro_schema`."
    PREPROCESS_ERROR = "PreprocessError", STAGE_DECODE, "The function of `--preprocess` raised, or returned no dict."
    UNKNOWN_SCHEMA = "UnknownSchema", STAGE_DECODE, "The registry has no schema of the id in the frame."
    REGISTRY_UNAVAILABLE = "RegistryUnavailable", STAGE_DECODE, "The schema registry did not answer in time."
    REJECTED = (
        "Rejected",
        STAGE_PREDICT,
        "The model refuses this record, found by bisecting its batch; or the record alone is too large for the endpoint.",
    )
    MALFORMED_ANSWER = (
        "MalformedAnswer",
        STAGE_PREDICT,
        "The server's answer to this record, and only to it, is unusable.",
    )
    CUT_ANSWER = "CutAnswer", STAGE_PREDICT, "The model's text was cut off at a limit of tokens (`finish_reason=length`)."
    REFUSED_ANSWER = (
        "RefusedAnswer",
        STAGE_PREDICT,
        "The model refuses to answer this record, or a filter keeps its answer back (`finish_reason=content_filter`).",
    )
    ANSWER_SCHEMA_ERROR = (
        "AnswerSchemaError",
        STAGE_PREDICT,
        "The model's text is no JSON, or does not fit `--answer_schema`, also when it was asked once more.",
    )
    SERVER_ERROR = "ServerError", STAGE_PREDICT, "The server fails on this record, and only on it."
    UNAVAILABLE = (
        "Unavailable",
        STAGE_PREDICT,
        "The server was down past the retry deadline, with `--on_unavailable=dead_letter`.",
    )
    FIELD_COLLISION = (
        "FieldCollision",
        STAGE_ENCODE,
        "A name is taken: by a field `prediction` of the record, or by an output of the model.",
    )
    MERGE_ERROR = "MergeError", STAGE_ENCODE, "`--output_mode=merge` can't merge into this record: it is not JSON."
    LABEL_ERROR = "LabelError", STAGE_ENCODE, "The outputs can't be ranked: no scores, a wrong number of them, or NaN."
    ENCODE_ERROR = "EncodeError", STAGE_ENCODE, "An output has no JSON form."
    POSTPROCESS_ERROR = (
        "PostprocessError",
        STAGE_ENCODE,
        "The function of `--postprocess` raised, or returned no dict, or what has no JSON form.",
    )
    RECORD_TOO_LARGE = "RecordTooLarge", STAGE_ENCODE, "The prediction has more bytes than the output topic takes."
    INTERNAL_ERROR = (
        "InternalError",
        STAGE_DECODE,
        "A bug of this program: it raised an exception for this record that it did not foresee. Please report it.",
        STAGE_PREDICT,
        STAGE_ENCODE,
    )
    TIMESTAMP_REFUSED = (
        "TimestampRefused",
        STAGE_WRITE,
        "The output topic does not take the timestamp (its `message.timestamp.before.max.ms` and `.after.max.ms`).",
    )
    KEY_REQUIRED = "KeyRequired", STAGE_WRITE, "The output topic is compacted, and takes no record with a null key."
    WRITE_TOO_LARGE = (
        "WriteTooLarge",
        STAGE_WRITE,
        "The prediction with its key and headers has more bytes than the output topic takes (`max.message.bytes`).",
    )
    WRITE_REFUSED = "WriteRefused", STAGE_WRITE, "Kafka refuses the prediction for another reason, which the message has."
