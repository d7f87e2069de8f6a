"""A stub of MLflow's scoring server."""
