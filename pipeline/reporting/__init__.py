"""What a person and a monitoring system see of a running job: status, summary, metrics."""
