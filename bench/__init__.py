"""Benchmarks of the pipeline against a hand-written consumer, on the same machine in the same run."""
