"""The parts of a job that lets a model write data."""
