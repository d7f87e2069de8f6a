"""Packaging: a light core, and extras for what not everybody needs."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="kafka-model-scoring",
    version="0.2.0.dev0",
    description="Scores a Kafka topic with a model server on Apache Beam, exactly once, from one command",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=["kafka", "apache-beam", "tensorflow-serving", "machine-learning", "inference", "exactly-once"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["pipeline", "pipeline.*", "transforms", "transforms.*"]),
    package_data={
        "pipeline": ["py.typed"],
        "pipeline.reporting.page": ["static/*"],
        "pipeline.embedded": ["data/digits/*.zip", "data/digits/model/**/*"],
        "transforms": ["py.typed"],
        "transforms.kafka.beam.expansion": ["jars.lock", "pom.xml"],
        "transforms.kafka.beam.java": ["*.jar", "src/**/*.java"],
    },
    install_requires=[
        "aiohttp>=3.9",
        "apache-beam>=2.73",  # no upper pin: what is patched is probed first (pipeline/runners/beam_internals.py)
        "confluent-kafka>=2.11",
        "fastavro>=1.9",
        "grpcio>=1.62",
        "numpy>=1.26",
        "orjson>=3.9",
        "protobuf>=5.26",
    ],
    extras_require={
        "kafka": ["confluent-kafka>=2.11"],  # names what the core is enough for: ReadFromKafka and WriteToKafka in Beam
        # The program; the library is what is above. PyYAML comes with apache-beam as well, so the library has it, too.
        "cli": ["prometheus-client>=0.20", "pyyaml>=6", "rich>=13"],
        "embedded": ["tensorflow>=2.17"],  # the embedded model server; a remote model needs no TensorFlow
        "schemaregistry": ["confluent-kafka[schemaregistry]>=2.11", "googleapis-common-protos>=1.60"],  # --schema_registry
        "vertex": ["google-cloud-aiplatform>=1.60", "google-auth[requests]>=2.30"],  # vertex:// models
        "sagemaker": ["botocore>=1.34"],  # sagemaker:// models; its signer and its credentials, no client of boto3
        # sasl.mechanism=AWS_MSK_IAM; before 2.13 nobody asks for the tokens of a client that is not polled
        "msk": ["botocore>=1.34", "confluent-kafka>=2.13"],
        # The steps of transforms.beam_yaml: what apache-beam[yaml] has, but JavaScript and the making of environments.
        "beam-yaml": ["docstring-parser>=0.15,<1", "jinja2>=3.1.6,<3.2", "jsonschema>=4,<5", "pandas>=1.4.3,<2.3"],
        "testing": ["pytest>=8", "cryptography>=42"],  # transforms.testing.contract, for protocols of other packages
        "otel": ["opentelemetry-sdk>=1.28", "opentelemetry-exporter-otlp-proto-http>=1.28"],  # --otlp_endpoint
        "prompt": ["jinja2>=3.1.6"],  # --prompt; older ones have holes in the sandbox
        "json-schema": ["fastjsonschema>=2.22", "regex>=2024.4.16"],  # --answer_schema
        "gcp": ["apache-beam[gcp]>=2.73"],  # Dataflow, gs://
    },
    entry_points={"console_scripts": ["kafka-model-scoring=pipeline.console:run"]},
)
