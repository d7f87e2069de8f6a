"""The flags of ``python -m pipeline``, one row each. The parser, ``--config``, ``--help``, documents and checks read it.

To add a flag, add a row here and use its field. ``flag.py`` says what a row can say, ``kinds/`` what values there are.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipeline.cli import settle
from pipeline.cli.flag import FlagRefusal, Where, flag
from pipeline.cli.kinds.base import Pairs
from pipeline.cli.kinds.files import (
    answer_schema_file,
    avro_schema_file,
    file,
    labels_file,
    output_file,
    prompt_file,
    request_file,
    signature_file,
    text_file,
)
from pipeline.cli.kinds.functions import function
from pipeline.cli.kinds.kafka import brokers, properties, start_from, topic, topics
from pipeline.cli.kinds.model import (
    answer_paths,
    headers,
    model_uri,
    output_types,
    paths,
    record_name,
    registry_urls,
    sources,
)
from pipeline.cli.kinds.plain import (
    SWITCH,
    choice,
    host_port,
    http_url,
    milliseconds,
    names,
    rate,
    seconds,
    text,
    whole,
    whole_or_auto,
)
from pipeline.cli.names import (
    AT_LEAST_ONCE,
    AUTO,
    BEAM,
    DEFAULT_GROUP,
    DIRECT,
    EMBEDDED,
    EXACTLY_ONCE,
    NATIVE,
    RECORD,
    RECORD_NAME,
    REGISTER,
    REQUIRE,
    TOPIC,
    TOPIC_RECORD,
    WORKERS_TO_FIT,
)
from transforms.answer_body import MAX_ANSWER_BYTES
from transforms.formats.codecs import JSON
from transforms.formats.limits import MAX_RECORD_BYTES
from transforms.formats.options import Paths
from transforms.formats.output_fields import TYPES, Field
from transforms.formats.output_schema import OUTPUT_FORMATS
from transforms.kafka.start_from import COMMITTED
from transforms.memory import BASE_MB, DEFAULT_MB, LEAST_MB
from transforms.predict.options import LOOK_S
from transforms.types import Signature

# Sections of --help and of the reference.
RUNNER, KAFKA, MODEL, REQUESTS, STOPPING, REPORTING = "Beam", "Kafka", "Model", "Requests", "Stopping", "Reporting"

# Why the flex template has no such parameter.
_PLACED = "Dataflow places the work"
_ENDLESS = "the job runs until it is drained"
_OWN_METRICS = "Dataflow has metrics of its own"
_OWN_PAGES = "Dataflow has pages of its own"
_IN_THE_IMAGE = "a file here would have to be in the image; give {}"

_DEMO_ONLY = "; embedded is the demo's, which runs where neither Kafka nor topics nor model are named"

# Refusals of several flags.
_JAVA_STOPS = FlagRefusal(
    Where.JAVA_ELSEWHERE,
    "Beam's Java source can't be told to stop on {runner}; drain the job by the runner's own means, or use "
    "--kafka_io=native",
)
_STOPS = (
    _JAVA_STOPS,
    FlagRefusal(Where.DATAFLOW, "a job on Dataflow is not stopped from here; leave it out, drain the job"),
)
_JAVA_PLACES = FlagRefusal(Where.JAVA, "is for --kafka_io=native; with beam the runner places the partitions")
_DATAFLOW_RUNS = FlagRefusal(Where.DATAFLOW, "the job runs on Dataflow's machines until it is drained; leave it out")


# fmt: off
@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The flags, checked and typed: a field each."""

    runner: str = flag(RUNNER, text("RUNNER"), "the Beam runner", default=DIRECT[0], no_parameter="is Dataflow's")
    allow_open_ports: bool = flag(
        RUNNER, SWITCH, "run a Prism (--prism_location) that other machines can reach: it runs what anybody sends it",
        no_parameter="Prism is a runner of its own")

    bootstrap_servers: str = flag(
        KAFKA, brokers(), "host:port[,…] of Kafka", default=EMBEDDED, required=True, embedded=_DEMO_ONLY)
    input_topics: tuple[str, ...] = flag(
        KAFKA, topics(), "a topic to read", name="input_topic", required=True, embedded=" (demo: digits)",
        settle=settle.input_topics)
    output_topic: str = flag(
        KAFKA, topic(), "where predictions go", required=True, embedded=" (demo: digits.predictions)",
        settle=settle.output_topic)
    dead_letter_topic: str = flag(
        KAFKA, topic(), "where records without a prediction go; <output_topic>.dead-letter unless given",
        settle=settle.dead_letter_topic)
    create_topics: bool = flag(
        KAFKA, SWITCH, "make the output topic where it is missing, with as many partitions as the input")
    group_id: str = flag(
        KAFKA, text("NAME", r"\S+"), "the consumer group; its committed offsets are the checkpoint",
        default=DEFAULT_GROUP)
    allow_shared_group: bool = flag(
        KAFKA, SWITCH, "start although a job with other topics is in this consumer group")
    start_from: str = flag(
        KAFKA, start_from(),
        "committed (earliest where the group has none); or move the group, once for each value, to: earliest, latest, "
        "yesterday, two hours before now (-2h; s, m, d, w), an ISO time; committed_or_earliest moves only partitions whose "
        "committed offset is not there any more",
        default=COMMITTED)
    start_from_again: bool = flag(
        KAFKA, SWITCH, "move the group to --start_from even if it had that value before", no_parameter="a person's, once")
    yes: bool = flag(
        KAFKA, SWITCH, "move the group without asking; only on a terminal there is a question",
        no_parameter="nobody is at a terminal")
    kafka_properties: Pairs = flag(
        KAFKA, properties(),
        "a librdkafka property NAME=VALUE; sasl.mechanism=AWS_MSK_IAM and aws.region=REGION log in to Amazon MSK by IAM",
        name="kafka_config", secret=True, lines="kafka_config_file", settle=settle.kafka_properties)
    kafka_config_file: str | None = flag(
        KAFKA, file(), "a file of such lines, for secrets", no_parameter=_IN_THE_IMAGE.format("kafka_config"))
    delivery: str = flag(
        KAFKA, choice(EXACTLY_ONCE, AT_LEAST_ONCE),
        "what is promised when processes fail; at_least_once with --kafka_io=beam", default=EXACTLY_ONCE,
        settle=settle.delivery)
    workers: int = flag(
        KAFKA, whole_or_auto(WORKERS_TO_FIT),
        "processes that share the partitions, on this machine; auto: one less than its cores, at most one a partition, and "
        "1 where the model is in the worker", default="1", no_parameter=_PLACED,
        refused=(FlagRefusal(Where.NOT_DIRECT, "is for the DirectRunner; {runner} places work itself"),))
    memory_mb: int = flag(
        KAFKA, whole(least=LEAST_MB),
        f"MB that each worker process is to take (on Flink and Dataflow: each shard): {BASE_MB} for the program, the rest "
        "for records that are queued, in a bundle or in flight; a model in the worker comes on top", default=str(DEFAULT_MB))
    assignment: str = flag(
        KAFKA, choice(AUTO, "group", "static"),
        "group: Kafka shares the partitions; static: this process reads all (on Flink and Dataflow: each shard its share)",
        default=AUTO,
        settle=settle.assignment, no_parameter=_PLACED, refused=(
            _JAVA_PLACES,
            FlagRefusal(Where.REMOTE, "{runner} places the shards itself; leave it out or use static", value="group"),
            FlagRefusal(Where.DATAFLOW, "{runner} places the shards itself; leave it out", value="group")))
    instance_id: str | None = flag(
        KAFKA, text("NAME"),
        "names this replica's transactions; keep it stable per replica (host name and a number)", no_parameter=_PLACED,
        refused=(_JAVA_PLACES,))
    kafka_io: str = flag(
        KAFKA, choice(AUTO, NATIVE, BEAM),
        "native, which is auto: librdkafka, exactly once; beam: Beam's Java transforms, at least once", default=AUTO,
        settle=settle.kafka_io)
    expansion_service: str | None = flag(
        KAFKA, host_port(),
        "HOST:PORT of a running Beam expansion service with KafkaIO, for --kafka_io=beam; by default one is started here "
        "(Java)", no_parameter="the launcher starts its own",
        refused=(FlagRefusal(Where.NATIVE, "is for --kafka_io=beam; the native implementation needs none"),))

    model: str = flag(
        MODEL, model_uri(), "the model's URI", default=EMBEDDED, required=True, embedded=_DEMO_ONLY)
    model_headers: Pairs = flag(
        MODEL, headers(), "an HTTP header or gRPC metadata NAME=VALUE sent to the model server", name="model_header",
        secret=True)
    model_ca_file: str | None = flag(MODEL, file(), "PEM authorities to trust, for grpcs:// and https://")
    model_cert_file: str | None = flag(MODEL, file(), "PEM client certificate, for mutual TLS")
    model_key_file: str | None = flag(MODEL, file(), "PEM client key, for mutual TLS")
    model_poll_s: float = flag(
        MODEL, seconds(), "how often a saved_model:// model is looked at for a new version", default="60")
    signature: Signature | None = flag(
        MODEL, signature_file(),
        "a JSON file with the model's inputs, outputs, dtypes and shapes, for a server that publishes none, or the MLmodel "
        "file of an MLflow model; "
        "python -m pipeline.check --guess_signature writes one from records")
    request: str | None = flag(
        MODEL, request_file(),
        "for json+http://, sagemaker:// and vertex://…?raw=json: a JSON file, the request with places for records: $rows, "
        "$row, $row.name")
    response: Paths = flag(
        MODEL, answer_paths(),
        "PATH or NAME=PATH,… for the same: where the rows' answers are in the answer, such as $.predictions[*]",
        literal=True)
    input_format: str = flag(
        MODEL, choice(AUTO, "json", "bytes", "tf_example", "avro", "protobuf", "npy"),
        "how values are read; auto asks the model's signature", default=AUTO)
    avro_schema: str | None = flag(
        MODEL, avro_schema_file(),
        "a file with the schema of Avro records; with --schema_registry, what they are read as")
    max_record_bytes: int = flag(
        MODEL, whole(),
        "the bytes of memory that a record may take once it is decompressed and decoded (Avro, Protobuf, npy); "
        "larger ones are dead letters", default=str(MAX_RECORD_BYTES))
    schema_registry: str | None = flag(
        MODEL, registry_urls(),
        "http(s)://HOST:PORT of a Confluent-compatible registry: Avro and Protobuf records are framed and their schemas "
        "asked for; of JSON records the frame is taken off")
    schema_registry_config: Pairs = flag(
        MODEL, properties(),
        "a property NAME=VALUE of confluent-kafka's SchemaRegistryClient (basic.auth.user.info, ssl.ca.location, …)",
        secret=True, lines="schema_registry_config_file")
    schema_registry_config_file: str | None = flag(
        MODEL, file(), "a file of such lines, for secrets", no_parameter=_IN_THE_IMAGE.format("schema_registry_config"))
    features: Paths = flag(
        MODEL, sources(),
        "where in a JSON, Avro or Protobuf record the model's inputs are: x=$.a.b,y=$.c[0]; several columns into one input: "
        "x=[$.a,$.b]; with words that change a value: $.price|number, default(0), base64, time, lookup(FILE), lower, json. "
        "A model of one input needs no name", literal=True)
    prompt: str | None = flag(
        MODEL, prompt_file(),
        "a Jinja2 template that makes the model's one text of such a record: {{ name }}, {% for line in lines %}; in place "
        "of --features")
    system_prompt: str | None = flag(
        MODEL, text_file(), "a file with the system message of every request, for --model=openai+http://…?task=chat")
    answer_schema: str | None = flag(
        MODEL, answer_schema_file(),
        "a file with the JSON Schema of the answers of --model=openai+http://…?task=chat: they are read as JSON and checked "
        "by it, and its properties are the fields of the prediction")
    pass_through: Paths = flag(
        MODEL, paths(),
        "NAME or NAME=PATH,…: what of such a record to write beside the model's outputs", literal=True)
    preprocess: str | None = flag(
        MODEL, function(),
        "your own Python: a function that takes the fields of a record (a dict) and returns those that the model, or "
        "--features, gets")
    postprocess: str | None = flag(
        MODEL, function(),
        "the same for a prediction: a function that takes the dict that would be written and returns the one to write")
    outputs: tuple[str, ...] = flag(
        MODEL, names("NAME,…"),
        "NAME,…: the model's outputs to write; all unless given. Where the protocol can, only these are asked for")
    output_mode: str = flag(
        MODEL, choice("prediction", "merge"), "merge puts the prediction inside the original JSON record",
        default="prediction")
    output_format: str = flag(
        MODEL, choice(*OUTPUT_FORMATS),
        "how predictions are written; avro and protobuf: framed by --schema_registry's schema", default=JSON)
    output_schema: str = flag(
        MODEL, choice(REGISTER, REQUIRE),
        "register: make the schema of the model's outputs and register it at the start; require: take the latest that the "
        "subject has, into which predictions must fit", default=REGISTER)
    output_subject: str = flag(
        MODEL, choice(TOPIC, RECORD, TOPIC_RECORD),
        "the subject's name: <output_topic>-value, the record's name, or <output_topic>-<record's name> (Confluent's "
        "TopicNameStrategy, RecordNameStrategy, TopicRecordNameStrategy)", default=TOPIC)
    output_record_name: str | None = flag(
        MODEL, record_name(),
        f"the name of the record, or Protobuf message, in that schema; {RECORD_NAME} unless given")
    output_types: tuple[Field, ...] = flag(
        MODEL, output_types(),
        "NAME=TYPE,…: types of fields in that schema: of --pass_through (string unless given), of what --postprocess "
        f"returns, of outputs whose shape is not known. TYPE is {', '.join(TYPES)}; a list is TYPE[]")
    labels: tuple[str, ...] | None = flag(
        MODEL, labels_file(), "a file of class names, one a line: write label, score and the best")
    top_k: int | None = flag(MODEL, whole(), "how many classes to write with --labels")

    batch_max_size: int = flag(REQUESTS, whole(), "records in a request at most", default="64")
    batch_max_wait_ms: int = flag(
        REQUESTS, whole(least=0), "how long to wait for a batch to fill, when it will", default="20")
    window_seconds: float | None = flag(REQUESTS, seconds(), "never mix event-time windows in a batch")
    max_in_flight: int | None = flag(
        REQUESTS, whole_or_auto(None), "requests at a time; auto: as many as bring more answers, up to 1024", default=AUTO)
    rate_limit: float | None = flag(
        REQUESTS, rate(),
        "N/s or N/min: requests to the model server at most, each of --workers or of the shards of Flink and Dataflow its "
        "part; on other runners, of each worker process. What is above that waits")
    token_limit: float | None = flag(
        REQUESTS, rate(),
        "N/min or N/s: the same for the tokens of prompts and answers, for --model=openai+http://…")
    request_timeout_s: float = flag(
        REQUESTS, milliseconds(), "one request's time at most", name="request_timeout_ms", default="30000")
    max_answer_bytes: int = flag(
        REQUESTS, whole(), "one answer's size at most, of the model server or the schema registry",
        default=str(MAX_ANSWER_BYTES))
    retry_deadline_s: float = flag(REQUESTS, seconds(), "how long a failing request is tried again", default="60")
    on_unavailable: str = flag(
        REQUESTS, choice("hold", "dead_letter", "fail"),
        "after that, with the server down: wait, write dead letters, or end", default="hold")
    idle_look_s: float = flag(
        REQUESTS, seconds(or_0=True),
        "how often the model server is asked for its metadata while no records come, to tell when it is down; 0: never, so "
        "that a server that scales to zero can", default=str(LOOK_S))

    wait_for_start_s: float = flag(
        REQUESTS, seconds(or_0=True),
        "how long to wait at the start for Kafka, the model server, the schema registry, and a cluster's job server and "
        "Flink, if they are not there yet, or the model is still loading; 0 for not at all", default="120")

    max_records: int | None = flag(
        STOPPING, whole(), "stop after so many records", no_parameter=_ENDLESS, refused=(
            *_STOPS,
            FlagRefusal(Where.REMOTE, "{runner}'s workers, which are on several machines, have no count in common; use "
                    "--until_end or --duration_s")))
    until_end: bool = flag(
        STOPPING, SWITCH, "read to the end that the input has now, then end", no_parameter=_ENDLESS, refused=_STOPS)
    duration_s: float | None = flag(
        STOPPING, seconds(), "stop after so many seconds", no_parameter=_ENDLESS, refused=_STOPS)

    status: str = flag(
        REPORTING, choice(AUTO, "live", "plain", "off"),
        "what is shown meanwhile; auto: live on a terminal, else plain", default=AUTO,
        no_parameter="nobody watches the launcher", refused=(
            FlagRefusal(Where.REMOTE, "{runner}'s workers are elsewhere; use plain, or look at the runner's own pages",
                    value="live"),))
    summary_json: Path | None = flag(
        REPORTING, output_file(), "write the summary to this file at the end", no_parameter=_ENDLESS,
        refused=(_DATAFLOW_RUNS,))
    metrics_port: int | None = flag(
        REPORTING, whole(most=65535), "serve /metrics (Prometheus), /healthz, /readyz on this port",
        no_parameter=_OWN_METRICS, refused=(
            _DATAFLOW_RUNS,
            FlagRefusal(Where.REMOTE, "{runner}'s workers are elsewhere; the same figures are among the runner's own "
                    "metrics (scoring_…); Flink has a Prometheus reporter for them")))
    metrics_host: str = flag(
        REPORTING, text("HOST"), "the address for that; 0.0.0.0 for all, as in a container", default="127.0.0.1",
        no_parameter=_OWN_METRICS)
    otlp_endpoint: str | None = flag(
        REPORTING, http_url(),
        "send traces and metrics to this OpenTelemetry collector, http(s)://HOST:PORT; OTEL_… variables say the rest",
        no_parameter=_OWN_METRICS, refused=(
            FlagRefusal(Where.DATAFLOW, "Dataflow has metrics of its own, and its workers trace nothing; leave it out"),))
    status_port: int | None = flag(
        REPORTING, whole(least=0, most=65535),
        "serve a page for a browser on this port (0: a free one), with what is going on; the demo then runs until Ctrl-C",
        no_parameter=_OWN_PAGES, refused=(
            _DATAFLOW_RUNS,
            FlagRefusal(Where.REMOTE, "{runner}'s workers are elsewhere; look at the runner's own pages")))
    status_host: str = flag(
        REPORTING, text("HOST"),
        "the address for that; on any other than this machine's own whoever reaches it sees predictions and images, without "
        "a password", default="127.0.0.1", no_parameter=_OWN_PAGES)
    status_inputs: bool = flag(
        REPORTING, SWITCH, "show the beginnings of input records on that page, too, not only images",
        no_parameter=_OWN_PAGES)
    config_file: str | None = flag(
        REPORTING, text("FILE"), "a YAML file of these flags; the command line wins", name="config",
        no_parameter="the parameters are the file")
# fmt: on
