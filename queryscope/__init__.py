"""The product's front door: command line, composition root, reports. It must not hold what a service decides."""
