"""A stub of OpenAI-compatible servers."""
