"""The framework-neutral half of tinyssd: configuration, the numpy reference, data, weights, reports, command line.

Importing it, or any module in it, never imports torch or mxnet.
"""

__version__ = "0.1.0"
