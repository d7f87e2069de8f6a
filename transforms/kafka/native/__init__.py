"""Kafka by librdkafka: a splittable-DoFn source and a transactional sink that share a session."""
