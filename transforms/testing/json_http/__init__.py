"""A stub of an app that answers JSON of its own."""
