"""What builds and checks the documentation; no page of it."""
