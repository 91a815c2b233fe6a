"""The command line: each file parses, calls `runs`, and prints. Heavy imports stay inside the calls."""
