"""What runs the service on AWS besides the template: smoke test, bulk scoring, cost, the size to choose."""
