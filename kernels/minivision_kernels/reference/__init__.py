"""The definition of every operation, in NumPy, written to be read. All other rungs are held against these."""
