"""Dataflow: submits a job, checks its options, and makes the flex template."""
