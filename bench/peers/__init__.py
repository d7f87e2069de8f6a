"""Other ways to score a topic, as their own experts would set them up, measured in turn with this pipeline."""
