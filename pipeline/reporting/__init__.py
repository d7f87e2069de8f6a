"""Reports on a running job: status and summary for a person, metrics for a monitoring system."""
