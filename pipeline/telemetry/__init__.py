"""Traces and metrics by OpenTelemetry's own SDK and exporters. Unless asked for, nothing of it is imported."""
