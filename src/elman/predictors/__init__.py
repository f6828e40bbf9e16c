"""Trained models that answer inputs."""
