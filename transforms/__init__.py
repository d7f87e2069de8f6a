"""Beam transforms that score a Kafka topic with a model server, exactly once.

Imports run one way: ``pipeline -> transforms.* -> transforms.clients -> types, errors``.
"""
