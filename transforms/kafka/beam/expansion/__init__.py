"""Beam's expansion service for the Java pair: its jars (``jars.py``, ``jars.lock``) and its process (``service.py``)."""
