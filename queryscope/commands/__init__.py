"""The commands, one module each. A command must not decide: it reads options, calls, prints."""
