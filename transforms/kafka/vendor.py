"""Translates what confluent_kafka gives: errors (which are transient, and a message with the cure for each), timestamps."""

from __future__ import annotations

import confluent_kafka as ck

E = ck.KafkaError

_TRANSIENT = {
    E._TRANSPORT, E._ALL_BROKERS_DOWN, E._TIMED_OUT, E._TIMED_OUT_QUEUE, E._RESOLVE, E._MAX_POLL_EXCEEDED, E._WAIT_COORD,
    E._WAIT_CACHE, E._STATE, E.COORDINATOR_LOAD_IN_PROGRESS, E.COORDINATOR_NOT_AVAILABLE, E.NOT_COORDINATOR,
    E.LEADER_NOT_AVAILABLE, E.NOT_LEADER_FOR_PARTITION, E.REQUEST_TIMED_OUT, E.NETWORK_EXCEPTION, E.BROKER_NOT_AVAILABLE,
    E.REBALANCE_IN_PROGRESS, E.ILLEGAL_GENERATION, E.UNKNOWN_MEMBER_ID, E.STALE_MEMBER_EPOCH, E.FENCED_MEMBER_EPOCH,
    E.UNSTABLE_OFFSET_COMMIT, E.NOT_ENOUGH_REPLICAS,
    E.NOT_ENOUGH_REPLICAS_AFTER_APPEND, E.CONCURRENT_TRANSACTIONS, E.OFFSET_NOT_AVAILABLE, E.FENCED_LEADER_EPOCH,
    E.UNKNOWN_LEADER_EPOCH, E.KAFKA_STORAGE_ERROR, E.FETCH_SESSION_ID_NOT_FOUND, E.INVALID_FETCH_SESSION_EPOCH,
    E.REPLICA_NOT_AVAILABLE, E.THROTTLING_QUOTA_EXCEEDED,
}  # fmt: skip

FENCED = {E._FENCED, E.PRODUCER_FENCED, E.INVALID_PRODUCER_EPOCH, E.FENCED_INSTANCE_ID, E.INVALID_PRODUCER_ID_MAPPING}
"""A newer producer of the same ``transactional.id`` has taken over."""

REFUSED_ID = {E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
"""The user may not write with the transactional id."""

CONNECTION = {E._TRANSPORT, E._ALL_BROKERS_DOWN, E._TIMED_OUT, E._SSL, E._AUTHENTICATION, E._FAIL, E._BAD_MSG}
"""What librdkafka says of a connection that failed."""

TOO_LARGE = {E.MSG_SIZE_TOO_LARGE, E.RECORD_LIST_TOO_LARGE}
"""A record, or the whole batch that it is in, has more bytes than the topic takes."""

REFUSES_RECORD = {*TOO_LARGE, E.INVALID_RECORD, E.INVALID_TIMESTAMP, E.POLICY_VIOLATION, E._INVALID_ARG}
"""What a delivery report says of a record that the topic does not take; it takes others."""

PERMANENT = {
    E.TOPIC_AUTHORIZATION_FAILED, E.UNKNOWN_TOPIC_OR_PART, E._UNKNOWN_TOPIC, E._UNKNOWN_PARTITION, E.TOPIC_EXCEPTION,
    E.CLUSTER_AUTHORIZATION_FAILED, E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
}  # fmt: skip
"""What a delivery report says of the topic as a whole: any other record would fail the same way."""

_CURES = {
    E._AUTHENTICATION: "the broker refused our credentials: check sasl.username, sasl.password and sasl.mechanism in "
    "--kafka_config_file",
    E.SASL_AUTHENTICATION_FAILED: "the broker refused our credentials: check sasl.username, sasl.password and "
    "sasl.mechanism in --kafka_config_file",
    E._SSL: "the TLS handshake failed: check security.protocol and ssl.ca.location in --kafka_config_file",
    E._ALL_BROKERS_DOWN: "no broker answers: check --bootstrap_servers and that Kafka is running",
    E._TRANSPORT: "no broker answers: check --bootstrap_servers and that Kafka is running",
    E._RESOLVE: "the broker's host name can't be resolved: check --bootstrap_servers",
    E.TOPIC_AUTHORIZATION_FAILED: "not authorized for the topic: grant READ on the input, WRITE on the outputs",
    E.GROUP_AUTHORIZATION_FAILED: "not authorized for the consumer group: grant READ on the group given by --group_id",
    E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "not authorized for the transactional id: grant WRITE on "
    "TransactionalId '<group_id>-<instance_id>', or use --delivery=at_least_once",
    E.CLUSTER_AUTHORIZATION_FAILED: "not authorized to write with idempotence: grant IDEMPOTENT_WRITE on the cluster",
    E.UNKNOWN_TOPIC_OR_PART: "the topic does not exist (any more)",
    E._UNKNOWN_TOPIC: "the topic does not exist (any more)",
    E._UNKNOWN_PARTITION: "the partition does not exist (any more)",
    E.MSG_SIZE_TOO_LARGE: "a record is larger than the topic allows: raise max.message.bytes of the output and "
    "dead-letter topics above the input's",
    E.INVALID_RECORD: "the topic does not take the record: a compacted topic wants a key, and every topic a timestamp "
    "within message.timestamp.before.max.ms and message.timestamp.after.max.ms",
    E.INVALID_TIMESTAMP: "the topic does not take the record's timestamp: raise its message.timestamp.before.max.ms or "
    "message.timestamp.after.max.ms",
    E._MSG_TIMED_OUT: "the broker did not acknowledge an output in time (message.timeout.ms)",
    E.UNSUPPORTED_VERSION: "the broker is too old for this: Kafka's newer protocol of consumer groups "
    "(group.protocol=consumer) needs Kafka 4.0",
    E.INCONSISTENT_GROUP_PROTOCOL: "another member of the group uses another partition.assignment.strategy: stop it, or "
    "use another --group_id",
}

_LACKS_LOGIN = (
    "no token to log in with: check sasl.oauthbearer.token.endpoint.url, sasl.oauthbearer.client.id and "
    "sasl.oauthbearer.client.secret in --kafka_config_file, and that the server of tokens runs"
)

_LACKS_IDENTITY = "no token to log in to MSK with: no AWS credentials can be had (the log says why)"

_LATER = ("OAUTHBEARER token", "Too many connects")
"""In librdkafka's text where no token could be had, and in MSK's where too many log in by IAM at a time."""

NO_TIMESTAMP = -1
"""Kafka's value for a record without a timestamp."""


def timestamp_of(kind: int, timestamp_ms: int) -> int | None:
    """A record's timestamp as ``KafkaRecord`` has it.

    Args:
        kind: Kafka's type of timestamp, as confluent_kafka gives it: 0 for a message format that has none.
        timestamp_ms: What stands in the record.
    """
    return None if kind == ck.TIMESTAMP_NOT_AVAILABLE or timestamp_ms == NO_TIMESTAMP else timestamp_ms


def is_transient(error: ck.KafkaError) -> bool:
    """Whether a retry of the same call may succeed."""
    return bool(not error.fatal() and (error.retriable() or error.code() in _TRANSIENT))


def may_log_in_later(error: ck.KafkaError) -> bool:
    """Whether a login failed for want of a token, or of room: librdkafka tries it again by itself."""
    return any(words in error.str() for words in _LATER)


def describe(error: ck.KafkaError) -> str:
    """Returns a message for the user: the cure if we know one, then Kafka's own message."""
    cure = _CURES.get(error.code())
    if "OAUTHBEARER token" in error.str():
        cure = _LACKS_IDENTITY if "OAuth callback" in error.str() else _LACKS_LOGIN
    own = f"{error.name()}: {error.str()}"
    return f"{cure} ({own})" if cure else own
