"""The Open Inference Protocol v2 (Triton, MLServer, KServe): ``oip+grpc://`` and ``oip+http://``."""
