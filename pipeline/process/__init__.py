"""Processes of a job on this machine: the supervisor of ``--workers``, their counters, their names."""
