"""The flags of ``python -m pipeline``: one row each, which serves the parser, ``--help``, ``--config`` and the checks."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Flag:
    """One flag.

    Attributes:
        name: Without the dashes.
        default: What it is when not given; ``None`` for nothing.
        help: One sentence.
        kind: ``text``, ``natural`` (a whole number from 1), ``count`` (from 0), ``number`` (above 0), ``switch`` or ``many``
            (may be repeated).
        choices: The values it takes, if they are few.
        group: The heading it stands under in ``--help``.
    """

    name: str
    default: str | None
    help: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    group: str = "Kafka"


FLAGS = (
    Flag("runner", "DirectRunner", "the Beam runner", group="Beam"),
    Flag("bootstrap_servers", "embedded", "host:port[,…] of Kafka; embedded starts a broker in this process"),
    Flag("input_topic", None, "a topic to read; may be repeated (embedded: digits)", "many"),
    Flag("output_topic", None, "where predictions go (embedded: digits.predictions)"),
    Flag("dead_letter_topic", None, "where records without a prediction go; <output_topic>.dead-letter unless given"),
    Flag("group_id", None, "the consumer group; its committed offsets are the checkpoint (kafka-model-scoring)"),
    Flag(
        "start_from",
        "committed",
        "committed (earliest where the group has none), or reset the group at the start to: earliest, latest, an ISO time",
    ),
    Flag("kafka_config", None, "a librdkafka property NAME=VALUE, ${ENV} is replaced; may be repeated", "many"),
    Flag("kafka_config_file", None, "a file of such lines, for secrets"),
    Flag("delivery", "exactly_once", "what is promised when processes fail; at_least_once with --kafka_io=beam",
         choices=("exactly_once", "at_least_once")),
    Flag("workers", "1", "processes that share the partitions, on this machine", "natural"),
    Flag("assignment", "auto", "group: Kafka shares the partitions; static: this process reads all "
         "(on Flink: each shard its share)",
         choices=("auto", "group", "static")),
    Flag("instance_id", None, "names this replica's transactions; keep it stable per replica (host name and a number)"),
    Flag("kafka_io", "auto", "native: librdkafka; beam: Beam's Java transforms; auto: beam on Dataflow, else native",
         choices=("auto", "native", "beam")),
    Flag("expansion_service", None, "HOST:PORT of a running Beam expansion service with KafkaIO, for --kafka_io=beam; by "
         "default one is started here (Java)"),
    Flag("model", "embedded", "the model's URI; embedded starts the demo's model server", group="Model"),
    Flag("model_header", None, "an HTTP header or gRPC metadata NAME=VALUE sent to the model server, ${ENV} is replaced; "
         "may be repeated", "many", group="Model"),
    Flag("model_ca_file", None, "PEM authorities to trust, for grpcs:// and https://", group="Model"),
    Flag("model_cert_file", None, "PEM client certificate, for mutual TLS", group="Model"),
    Flag("model_key_file", None, "PEM client key, for mutual TLS", group="Model"),
    Flag("model_poll_s", "60", "how often a saved_model:// model is looked at for a new version", "number", group="Model"),
    Flag("input_format", "auto", "how values are read; auto asks the model's signature",
         choices=("auto", "json", "bytes", "tf_example", "avro", "protobuf", "npy"), group="Model"),
    Flag("avro_schema", None, "a file with the schema of Avro records; with --schema_registry, what they are read as",
         group="Model"),
    Flag("schema_registry", None, "http(s)://HOST:PORT of a Confluent-compatible registry: Avro and Protobuf records are "
         "framed and their schemas asked for; of JSON records the frame is taken off", group="Model"),
    Flag("schema_registry_config", None, "a property NAME=VALUE of confluent-kafka's SchemaRegistryClient "
         "(basic.auth.user.info, ssl.ca.location, …), ${ENV} is replaced; may be repeated", "many", group="Model"),
    Flag("schema_registry_config_file", None, "a file of such lines, for secrets", group="Model"),
    Flag("features", None, "INPUT=PATH,…: where in a JSON, Avro or Protobuf record the model's inputs are, such as "
         "x=$.a.b,y=$.c[0]; may be repeated", "many", group="Model"),
    Flag("pass_through", None, "NAME or NAME=PATH,…: what of such a record to write beside the model's outputs; "
         "may be repeated", "many", group="Model"),
    Flag("output_mode", "prediction", "merge puts the prediction inside the original JSON record",
         choices=("prediction", "merge"), group="Model"),
    Flag("labels", None, "a file of class names, one a line: write label, score and the best", group="Model"),
    Flag("top_k", None, "how many classes to write with --labels", "natural", group="Model"),
    Flag("batch_max_size", "64", "records in a request at most", "natural", group="Requests"),
    Flag("batch_max_wait_ms", "20", "how long to wait for a batch to fill, when it will", "count", group="Requests"),
    Flag("window_seconds", None, "never mix event-time windows in a batch", "number", group="Requests"),
    Flag("max_in_flight", "auto", "requests at a time; auto adapts to what the server takes", group="Requests"),
    Flag("request_timeout_ms", "30000", "one request's time at most", "natural", group="Requests"),
    Flag("retry_deadline_s", "60", "how long a failing request is tried again", "number", group="Requests"),
    Flag("on_unavailable", "hold", "after that, with the server down: wait, write dead letters, or end",
         choices=("hold", "dead_letter", "fail"), group="Requests"),
    Flag("max_records", None, "stop after so many records", "natural", group="Stopping"),
    Flag("until_end", None, "stop at the end that the input has now", "switch", group="Stopping"),
    Flag("duration_s", None, "stop after so many seconds", "number", group="Stopping"),
    Flag("status", "auto", "what is shown meanwhile; auto: live on a terminal, else plain",
         choices=("auto", "live", "plain", "off"), group="Reporting"),
    Flag("summary_json", None, "write the summary to this file at the end", group="Reporting"),
    Flag("metrics_port", None, "serve /metrics (Prometheus), /healthz, /readyz on this port", "natural", group="Reporting"),
    Flag("metrics_host", "127.0.0.1", "the address for that; 0.0.0.0 for all, as in a container", group="Reporting"),
    Flag("config", None, "a YAML file of these flags; the command line wins", group="Reporting"),
)  # fmt: skip

BY_NAME = {flag.name: flag for flag in FLAGS}
