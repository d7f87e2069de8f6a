"""Stubs of TensorFlow Serving's protocols."""
