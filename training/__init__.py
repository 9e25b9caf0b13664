"""Makes the network: data set, patient-grouped split, VGG19, fit, metrics, report. Everything here may need TensorFlow;
modules import it inside the functions that use it where a user could do without (scoring a bundle needs none)."""
