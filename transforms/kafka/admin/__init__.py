"""Requests to Kafka other than reading and writing: checks before the start, a group's progress, samples of records."""
