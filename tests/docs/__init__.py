"""The documents: their links, their generated parts, and their commands, which are run."""
