"""The commands that grant a missing right or make a missing topic, for messages."""

from __future__ import annotations

from confluent_kafka.admin import AclOperation

from transforms.kafka.config import ASSIGN_STATIC, KafkaConfig

_IAM = {
    (AclOperation.READ, "--topic"): "kafka-cluster:DescribeTopic and kafka-cluster:ReadData",
    (
        AclOperation.WRITE,
        "--topic",
    ): "kafka-cluster:DescribeTopic, kafka-cluster:WriteData and kafka-cluster:WriteDataIdempotently",
    (AclOperation.CREATE, "--topic"): "kafka-cluster:CreateTopic",
    (AclOperation.READ, "--group"): "kafka-cluster:DescribeGroup and kafka-cluster:AlterGroup",
    (
        AclOperation.WRITE,
        "--transactional-id",
    ): "kafka-cluster:DescribeTransactionalId and kafka-cluster:AlterTransactionalId",
}
"""What MSK has in place of ``kafka-acls.sh``, by the right and the option of its resource.

Source: https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html.
"""


def name_of(right: AclOperation) -> str:
    """Returns the right as ``kafka-acls.sh`` has it, such as ``Read``."""
    return str(right.name).title()


def grant(config: KafkaConfig, right: AclOperation, resource: str) -> str:
    """Says how to grant the job's user a right on a resource, which is given by its option of ``kafka-acls.sh``."""
    if config.by_iam:
        return f"its IAM policy must allow {_IAM[right, resource.split()[0]]} on it"
    user = config.client_properties().get("sasl.username") or "NAME"
    return (
        f"kafka-acls.sh --bootstrap-server {config.bootstrap_servers} --add --allow-principal User:{user} "
        f"--operation {name_of(right)} {resource} grants it"
    )


def on_transactional_id(config: KafkaConfig) -> str:
    """What to say where Kafka refuses the transactional id. It answers no question about it that fences nobody."""
    name = config.transactional_id
    if config.assignment == ASSIGN_STATIC:  # each shard has one, and each claim lock
        resource = f"--transactional-id {config.group_id}- --resource-pattern-type prefixed"
    else:
        resource = f"--transactional-id {name}"
    command = grant(config, AclOperation.WRITE, resource)
    return f"this user has no right to Write with the transactional id {name}; {command}"


def create_command(config: KafkaConfig, topic: str, partitions: int) -> str:
    """Returns Kafka's command that makes the topic."""
    return (
        f"kafka-topics.sh --bootstrap-server {config.bootstrap_servers} --create --topic {topic} --partitions {partitions}"
    )
