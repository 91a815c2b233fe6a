"""The stories: what each command does, top to bottom. Also the Python API."""
