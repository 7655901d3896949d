"""What a dataset is: registry, formats, one Example type, splits. Knows no torch."""
