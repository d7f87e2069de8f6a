"""Outcomes to the records that are written: predictions and dead letters."""
