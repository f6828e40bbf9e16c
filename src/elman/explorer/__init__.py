"""The learner's page: one HTML file in which the network of the equations runs, on the reader's own numbers."""
