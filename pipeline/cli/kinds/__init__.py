"""Kinds of flags: what values a flag takes, and the check that turns its text into a typed value."""
