"""Convert a trained Keras network to the bundle for serving: a small int8 ONNX graph, verified against the network."""
