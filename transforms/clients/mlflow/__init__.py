"""MLflow's scoring server, and what speaks like it: Databricks model serving, Azure ML's endpoints of MLflow models."""
