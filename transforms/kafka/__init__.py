"""Kafka in and out, exactly once: a splittable-DoFn source and a transactional sink on librdkafka.

``ReadFromKafka`` (``source.py``) and ``WriteToKafka`` (``sink.py``) share one ``Session`` a process, on Flink one a shard
(``session.py``): the consumer, the producer, and which offsets are in flight. Outputs and source offsets of a bundle commit
together.
"""
