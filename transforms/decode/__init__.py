"""Decode: records → the model's input tensors, by its signature."""
