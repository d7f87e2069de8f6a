"""Fuzzing (``make fuzz``): whatever a record or a server holds is read, or refused by an exception that is documented."""
