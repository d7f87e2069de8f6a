"""Predict: batching, requests in flight, retries, the hold, and bisection to find guilty rows."""
