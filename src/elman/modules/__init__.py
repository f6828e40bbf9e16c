"""Modules: building blocks of networks, which know no application."""

RESNETS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
"""The residual blocks of each stage of the ResNets of torchvision's names; settings list them without torch."""
