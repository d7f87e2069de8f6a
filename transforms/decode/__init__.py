"""Records to the model's inputs."""
