"""Outcomes -> windows, totals, SLA verdicts -> projections, breaches, summaries. It must not import another service."""
