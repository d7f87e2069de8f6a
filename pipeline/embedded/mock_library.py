"""librdkafka's mock cluster, declared for ctypes from the library that confluent_kafka ships.

confluent_kafka can start a mock cluster itself (``test.mock.num.brokers``), but that one can't be configured: topics have
four partitions, only a producer's request creates them (CreateTopics is not implemented), and the first rebalance of every
consumer group waits three seconds. The functions are librdkafka's (``rdkafka.h``, ``rdkafka_mock.h``).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
from ctypes import c_char_p, c_int, c_int32, c_size_t, c_void_p
from pathlib import Path

PRODUCER = 0
"""``RD_KAFKA_PRODUCER``."""

_FUNCTIONS = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set_log_cb": (None, [c_void_p, c_void_p]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_destroy": (None, [c_void_p]),
    "rd_kafka_err2str": (c_char_p, [c_int]),
    "rd_kafka_mock_cluster_new": (c_void_p, [c_void_p, c_int]),
    "rd_kafka_mock_cluster_destroy": (None, [c_void_p]),
    "rd_kafka_mock_cluster_bootstraps": (c_char_p, [c_void_p]),
    "rd_kafka_mock_topic_create": (c_int, [c_void_p, c_char_p, c_int, c_int]),
    "rd_kafka_mock_group_initial_rebalance_delay_ms": (None, [c_void_p, c_int32]),
}


@functools.cache
def library() -> ctypes.CDLL:
    """Loads librdkafka, once in each process.

    Raises:
        ImportError: confluent_kafka is not installed, or no librdkafka with a mock cluster is found.
    """
    import confluent_kafka

    package = Path(confluent_kafka.__file__).parent
    bundled = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    names = [str(path) for path in sorted(bundled)] or [ctypes.util.find_library("rdkafka") or "librdkafka.so.1"]
    for name in names:
        try:
            loaded = ctypes.CDLL(name)
            for function_name, (result, arguments) in _FUNCTIONS.items():
                function = getattr(loaded, function_name)
                function.restype = result
                function.argtypes = arguments
        except (OSError, AttributeError):
            continue
        return loaded
    raise ImportError(f"no librdkafka with a mock cluster beside {package}: install confluent-kafka from its wheel")
