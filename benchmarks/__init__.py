"""Speed and truth, measured: each module prints a table that anybody can make again. Nothing of ours imports it."""
