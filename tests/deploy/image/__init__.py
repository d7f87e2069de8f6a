"""``make image``: builds the images of ``deploy/Dockerfile``, weighs them, and runs the service from its own."""
