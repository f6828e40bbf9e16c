"""Stores of sessions: SQLite, memory and Redis."""
