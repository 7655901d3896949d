"""The command `studio`: words on a command line to one call each. No logic of its own."""
