"""Stubs of a SavedModel in the worker."""
