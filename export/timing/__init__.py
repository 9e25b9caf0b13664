"""How fast a bundle is, and beside what: latency, cold starts, and the rest of a request."""
