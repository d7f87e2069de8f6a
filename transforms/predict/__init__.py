"""Batches, requests in flight, retries, and the search for guilty records."""
