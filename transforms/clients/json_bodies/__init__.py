"""Requests by a template and answers by paths, in JSON: what the user writes for an endpoint of a form of its own."""
