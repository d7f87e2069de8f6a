"""Stubs of multi-model-server's and TorchServe's protocol."""
