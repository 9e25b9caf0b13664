"""Serving: from the bytes of an image to calibrated probabilities.

The packages `training`, `export` and `infra` may import this package. It does not import them or TensorFlow.
"""
