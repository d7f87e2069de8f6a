"""multi-model-server (AWS, MXNet) and TorchServe: ``mms+http://``."""
