"""The mathematics in NumPy float64, forward and backward: the judge of everything else."""
