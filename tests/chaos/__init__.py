"""Faults on purpose: jobs over real Kafka that are killed, cut off and lied to, and what became of every record.

python -m tests.chaos [--quick] [--only NAME …]
"""
