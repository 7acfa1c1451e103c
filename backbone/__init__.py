"""What every service stands on: ports with their adapters, shared maths, settings. Knows no service."""
