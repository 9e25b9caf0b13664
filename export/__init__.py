"""Turns a trained Keras network into what is served: one small int8 ONNX bundle, proven against its source."""
