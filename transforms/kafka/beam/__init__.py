"""Kafka through Beam's own Java transforms, as cross-language transforms (``--kafka_io=beam``)."""
