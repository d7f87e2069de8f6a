"""A stub of a SageMaker endpoint."""
