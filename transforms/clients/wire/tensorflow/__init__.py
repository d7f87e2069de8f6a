"""TensorFlow's tensors, examples and signatures, as TensorFlow Serving, SavedModels and the runtime share them."""
