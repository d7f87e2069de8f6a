"""What is asked of Kafka besides reading and writing: checks before the start, lag, samples of records."""
