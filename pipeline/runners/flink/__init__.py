"""Flink: submitting a job, watching it, and its worker processes."""
