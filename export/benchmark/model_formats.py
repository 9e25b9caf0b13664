"""File names of the model formats in which the benchmark keeps a network."""

KERAS = "network.keras"
FLOAT_ONNX = "float32.onnx"
DYNAMIC_ONNX = "int8-dynamic.onnx"
STATIC_ONNX = "int8-static.onnx"
FLOAT_LITERT = "float32.tflite"
INT8_LITERT = "int8.tflite"

FORMATS = (KERAS, FLOAT_ONNX, DYNAMIC_ONNX, STATIC_ONNX, FLOAT_LITERT, INT8_LITERT)
"""In the order in which they are made: the int8 ONNX files are made from the float one."""
