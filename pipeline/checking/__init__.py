"""Checks before a job starts: do model, topics, flags and records fit together?"""
