"""Scores: likelihood of reference answers, generated answers, and metrics over both."""
