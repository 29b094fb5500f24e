"""One folder per chapter: its list of exercises, and a file for each with text, hole and solution."""
