"""Elman's layers inside other libraries, a module for each; a module imports its library, and nothing else does."""
