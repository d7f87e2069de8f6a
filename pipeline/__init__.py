"""How the job is put together and run: `python -m pipeline`."""
