"""Modules: building blocks of networks, which know no application."""
