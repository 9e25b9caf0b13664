"""Benchmark of model bundles: latency beside other runtimes, cold starts, the parts of a warm request, and the server
under load."""
