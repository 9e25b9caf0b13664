"""Benchmark of model bundles: latency beside other runtimes, cold starts, and the parts of a warm request."""
