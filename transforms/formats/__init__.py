"""The formats of a record's value: one module for each, and the schema registry. Nothing here imports Beam."""
