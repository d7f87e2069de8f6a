"""Forty mistakes of a first hour: what was typed, and what has to stand in the one line of the answer.

``{kafka}`` is a broker with the topics ``orders`` and ``scored``, ``{model}`` a model of one input ``x`` of two floats,
``{folder}`` a folder with the files of ``FILES``. What is not typed is right.
"""

from __future__ import annotations

import dataclasses

OWN = {
    "bootstrap_servers": "{kafka}",
    "input_topic": "orders",
    "output_topic": "scored",
    "model": "{model}",
    "group_id": "mistakes",
}

FILES = {
    "labels.txt": "cat\n\ndog\n\nbird",
    "broken.yaml": "input_topic: orders\n  output_topic: [scored\n",
    "names.yaml": "input_topic: orders\n\noutput_topik: scored\n",
    "twice.yaml": "workers: 1\nstatus: plain\nworkers: 2\n",
    "list.yaml": "- orders\n",
    "values.yaml": "input_topic: orders\nworkers: two\n",
    "schema.avsc": "{",
    "list.json": "[1, 2]",
    "prompt.txt": "Sum up:\n{{ text|uper }}",
}


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes:
        flags: What is typed instead of, or besides, what is right; ``None`` leaves a flag out.
        names: The flag or field that the message begins with.
        says: What is so, and the next step.
    """

    flags: dict[str, str | None]
    names: str
    says: tuple[str, ...]


def typed(names: str, *says: str, **flags: str | None) -> Mistake:
    """Makes a row."""
    return Mistake(flags, names, says)


PARSED = (
    typed("--model:", "name your model", model=None),
    typed("--bootstrap_servers:", "name your Kafka", bootstrap_servers=None),
    typed("--input_topic:", "name the topic to read", input_topic=None),
    typed("--output_topic:", "name the topic that predictions go to", output_topic=None),
    typed("--model=embedded:", "name your model", model="embedded"),
    typed("--model=h:8500:", "grpc://HOST:PORT/MODEL", model="h:8500"),
    typed("--model=htp://h/m:", "unknown form; did you mean http://", model="htp://h/m"),
    typed("--model=grcp://h/m:", "did you mean grpc://HOST:PORT/MODEL", model="grcp://h/m"),
    typed("--model=tensrflow://h/m:", "did you mean grpc://HOST:PORT/MODEL", model="tensrflow://h/m"),
    typed("--output_topic=orders:", "is an input topic too", output_topic="orders"),
    typed("--dead_letter_topic=orders:", "is an input topic too", dead_letter_topic="orders"),
    typed("--input_topic=my orders:", "1 to 249 of the characters", input_topic="my orders"),
    typed("--start_from=tomorrow:", "-2h", "yesterday", start_from="tomorrow"),
    typed("--workers=0:", "whole number of at least 1", workers="0"),
    typed(
        "--statsd:", "no such flag; metrics are sent by OpenTelemetry, --otlp_endpoint=", "--metrics_port", statsd="h:8125"
    ),
    typed("--max_record:", "did you mean --max_records?", max_record="5"),
    typed("--versoin:", "no such flag; did you mean --version?", versoin=""),
    typed("--regoin:", "no such flag; did you mean --region?", regoin="europe-west1"),
    typed("--delivery=exactly-once:", "did you mean exactly_once?", delivery="exactly-once"),
    typed("--runner=SparkRunner:", "no timers in streaming", "use DirectRunner", runner="SparkRunner"),
    typed("--runner=KafkaStreamsRunner:", "no splittable DoFns", "use DirectRunner", runner="KafkaStreamsRunner"),
    typed("--runner=DirectRuner:", "did you mean DirectRunner?", runner="DirectRuner"),
    typed("--workers=2:", "places work itself", workers="2", runner="PrismRunner"),
    typed("--kafka_io=beam:", "--kafka_io=native", kafka_io="beam"),
    typed("--labels={folder}/labels.txt:", "labels 2, 4 are empty", "needs a name", labels="{folder}/labels.txt"),
    typed("--labels=/nowhere/labels.txt:", "No such file", labels="/nowhere/labels.txt"),
    typed("--top_k:", "needs --labels", top_k="3"),
    typed("--config={folder}/broken.yaml, line 2:", "can't be read as YAML", config="{folder}/broken.yaml"),
    typed("--config={folder}/names.yaml, line 3:", "did you mean output_topic?", config="{folder}/names.yaml"),
    typed("--config={folder}/twice.yaml, line 3:", "stands on line 1 already", config="{folder}/twice.yaml"),
    typed("--config={folder}/list.yaml:", "name: value", config="{folder}/list.yaml"),
    typed("--config=/nowhere.yaml:", "can't be read: No such file", config="/nowhere.yaml"),
    typed(
        "--kafka_config sasl.password:",
        "the environment variable NOT_SET is not set",
        kafka_config="sasl.password=${NOT_SET}",
    ),
    typed("--kafka_config linger:", "no such librdkafka property", kafka_config="linger=5"),
    typed("--kafka_config enable.auto.commit:", "leave it out", kafka_config="enable.auto.commit=true"),
    typed("--model_ca_file=/nowhere.pem:", "no such file", model_ca_file="/nowhere.pem"),
    typed("--avro_schema={folder}/schema.avsc:", "schema", avro_schema="{folder}/schema.avsc", input_format="avro"),
    typed("--input_format=protobuf:", "needs --schema_registry", input_format="protobuf"),
    typed("--features=$.a|nummer:", "no such word; use number", features="x=$.a|nummer"),
    typed("--features=$.a|lookup({folder}/list.json):", "give a JSON object", features="x=$.a|lookup({folder}/list.json)"),
    typed("--prompt={folder}/prompt.txt:", "line 2: No filter named 'uper'", "there are abs", prompt="{folder}/prompt.txt"),
    typed(
        "--answer_schema={folder}/list.json:",
        "no schema of an object with fields",
        '{"type": "object", "properties": {"NAME": …}}',
        answer_schema="{folder}/list.json",
    ),
    typed("--group_id:", "${G} is not replaced here, only in --kafka_config", "within double quotes", group_id="${G}"),
    typed("--model:", "${HOST} is not replaced here", model="grpc://${HOST}:8500/m"),
    typed("--bootstrap_servers=http://h:9092:", "give HOST:PORT alone", bootstrap_servers="http://h:9092"),
    typed("--input_topic=orders,more:", "for several topics give --input_topic several times", input_topic="orders,more"),
    typed("--kafka_config: sasl.mechanism:", "sasl.mechanism=PLAIN, SCRAM", kafka_config="security.protocol=SASL_SSL"),
    typed("--workers=two:", "({folder}/values.yaml, line 2)", config="{folder}/values.yaml"),
    typed("--rate_limit=10:", "10/s or 600/min", rate_limit="10"),
    typed("--token_limit=0/min:", "a number above 0", token_limit="0/min"),
    typed("--token_limit:", "use --rate_limit", token_limit="1000/min"),
    typed("--features=x=a.b:".replace("x=", ""), "must begin with $", features="x=a.b"),
    typed("--preprocess=nowhere:clean:", "there is no module 'nowhere'", "PYTHONPATH", preprocess="nowhere:clean"),
    typed("--postprocess=json:lods:", "json has no lods; did you mean loads?", postprocess="json:lods"),
    typed("--summary_json=/nowhere/s.json:", "make it first", summary_json="/nowhere/s.json"),
)
"""Told before anything is asked."""

ASKED = (
    typed("--input_topic=order:", "the topic does not exist (did you mean", input_topic="order"),
    typed("--output_topic=scores:", "the topic does not exist", "--create_topics makes it", output_topic="scores"),
    typed("--bootstrap_servers={nobody}:", "no broker answers", bootstrap_servers="{nobody}"),
    typed("--model=grpc://{nobody}/m:", "can't be reached", model="grpc://{nobody}/m"),
    typed("--model=grpc://{at}/n:", "is that the model's name on this server?", model="grpc://{at}/n"),
    typed("--model=http://{rest}/v1/models/n:", "is that the model's name on", model="http://{rest}/v1/models/n"),
    typed("--model={model}?signature=nosuch:", "serving_default", model="{model}?signature=nosuch"),
    typed("--model=http://{at}/v1/models/m:", "it speaks HTTP/2", "use grpc://{at}/m", model="http://{at}/v1/models/m"),
    typed("--model=grpc://{rest}/m:", "it speaks HTTP/1", "use http://{rest}/v1/models/m", model="grpc://{rest}/m"),
    typed("--model=http://{kafka}/v1/models/m:", "{kafka} is an address of", model="http://{kafka}/v1/models/m"),
    typed("--bootstrap_servers={other}:", "HTTP/2, as a gRPC port does", "no Kafka broker", bootstrap_servers="{other}"),
    typed("--bootstrap_servers={rest}:", "speaks HTTP answers", "no Kafka broker", bootstrap_servers="{rest}"),
    typed("--model=grpc://{kafka}/m:", "{kafka} is an address of --bootstrap_servers", model="grpc://{kafka}/m"),
    typed("--features:", "'y' is no input of 'serving_default', which takes x", features="y=$.a"),
    typed("--features:", "has 3 columns, but the input takes float32[2]", features="[$.a,$.b,$.c]"),
    typed("--input_format=bytes:", "use --input_format=json", input_format="bytes"),
)
"""Told after Kafka and the model server were asked."""
