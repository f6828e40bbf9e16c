"""Programs of packages that use recurrent layers: the model, a batch, the loss, and where there is one the fit.

A package is imported inside the function that builds its program, so that this folder can be read without any of them.
"""
