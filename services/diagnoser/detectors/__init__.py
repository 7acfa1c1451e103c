"""Owns the detectors, one module per cause; services/diagnoser/panel.py lists them. It must not rank what they find."""
