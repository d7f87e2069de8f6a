"""A TensorFlow SavedModel in the worker itself: ``saved_model://``."""
