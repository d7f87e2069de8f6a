"""Any JSON endpoint over HTTP: the request by a template, the answer by paths."""
