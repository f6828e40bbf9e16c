"""Whole applications: a run as graphs, vocabulary and labels, a manifest, and a program that answers without elman."""
