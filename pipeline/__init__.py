"""The application around the transforms: checks, builds and runs a job (``python -m pipeline``)."""
