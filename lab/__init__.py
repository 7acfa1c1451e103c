"""A target whose truth is known: servers with programmable faults, started as processes of their own.

Must not know anything of QueryScope: a test that trusts the lab must not trust the code under test.
"""
