"""The serving contract: bytes of an image in, a calibrated pneumonia probability out.

The other rooms (`training`, `export`, `infra`) may import this one; it imports none of them, and never TensorFlow.
"""
