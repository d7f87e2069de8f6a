"""Stubs of Vertex AI's protocol."""
