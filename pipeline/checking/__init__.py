"""Whether model, topics, flags and records fit, before anything is consumed."""
