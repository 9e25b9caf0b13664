"""Train and evaluate the network: data set, split by patient, VGG19, training, metrics, report.

TensorFlow is not imported to prepare a data set, to read a run folder or to evaluate a bundle.
"""
