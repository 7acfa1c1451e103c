"""The arithmetic behind every figure: sketches and statistics, values in, values out.

Must not know files, sockets, clocks or any service; import the module you need (numpy is loaded with it).
"""
