"""Tools for the service on AWS: smoke test, bulk scoring, cost, memory size, and the build of the image."""
