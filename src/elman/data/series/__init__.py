"""Time series: readers, regularisation, data set and windows."""
