"""Flink: submits a job, watches and cancels it; and prepares the worker processes."""
