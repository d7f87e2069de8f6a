"""Tests of ``pipeline.embedded`` and of the digits model."""
