"""Recipes, one per application: the contract (`base`), the driver (`run`, `use`), the registry, and a file for each."""
