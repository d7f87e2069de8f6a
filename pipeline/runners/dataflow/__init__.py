"""Dataflow: submitting a job, its options, the flex template."""
