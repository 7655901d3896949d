"""The parts of an export: merging, writers of formats, verification."""
