"""Tokens of whole data sets: made in batches, kept in a file, read where they are looked at."""
