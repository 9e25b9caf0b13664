"""Serving: bytes of an image in, a calibrated probabilities out.

The packages `training`, `export` and `infra` may import this one. It imports none of them, and never TensorFlow.
"""
