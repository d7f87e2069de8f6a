"""Vertex AI online prediction over gRPC and REST: ``vertex://``."""
