"""Models that the real servers load, each in an interpreter of its server's own environment: not for ours to import."""
