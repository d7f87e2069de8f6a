"""OpenAI-compatible servers: ``openai+http://``."""
