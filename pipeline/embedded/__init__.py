"""A broker, a model server and a generator for demos and tests; they need only pip packages."""
