"""How results look in a terminal. It must not fetch anything."""
