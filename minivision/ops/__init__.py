"""Every differentiable operation, forward and backward side by side, one family per file.

The classes here say only the mathematics. What users call (defaults, checks, documentation) is in ``functional/``.
"""
