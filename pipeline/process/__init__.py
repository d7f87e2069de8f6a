"""The processes of a job on this machine: supervisor, counters, instance ids of ``--workers``, garbage collection."""
