"""The services: each meets the others only on the log and in schemas. None imports another."""
