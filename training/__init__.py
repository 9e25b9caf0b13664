"""Makes the network: data set, split by patient, VGG19, training, metrics, report.

Preparing a data set, reading a run folder and evaluating a bundle do not import TensorFlow.
"""
