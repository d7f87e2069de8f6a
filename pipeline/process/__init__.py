"""The processes of a job on this machine: supervisor, counters and instance ids of ``--workers``."""
