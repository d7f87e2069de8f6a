"""Kafka, read and written exactly once: a splittable-DoFn source and a transactional sink on librdkafka (``native/``).

``ReadFromKafka`` (``native/source.py``) and ``WriteToKafka`` (``native/sink.py``) share one ``Session``
(``native/session.py``) in a process, or one for each shard on Flink. It holds the consumer, the producer and the offsets in
flight. The outputs and the source offsets of a bundle are committed in one transaction. ``beam/`` has the other
implementation, by Beam's Java transforms.
"""
