"""TensorFlow's tensors, ``tf.Example`` records and signatures, for all clients of TensorFlow models."""
