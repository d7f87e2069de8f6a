"""Kafka by Beam's own Java transforms, cross-language (``--kafka_io=beam``)."""
