"""TensorFlow Serving over gRPC and REST (and KServe V1 over REST): ``grpc://`` and ``http://``."""
