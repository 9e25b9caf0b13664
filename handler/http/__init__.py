"""The HTTP interface: endpoints, what surrounds them, and their description."""
