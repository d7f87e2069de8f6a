"""Benchmarks: ours against a hand-written peer, in one run on one machine."""
