"""The log: the port that services stand on and its adapters. It must not know what the records mean."""
