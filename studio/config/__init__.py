"""What a user may ask for: the schema of every setting, its faults, its files. Knows pydantic and yaml alone."""
