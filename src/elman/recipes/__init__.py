"""The recipes, one per application: the contract (`base`), the driver (`run`), the registry, and a file for each."""
