"""lm-evaluation-harness with a model of ours behind it: its tasks, prompts, filters and metrics, our forward pass.

Importing this package is light; what needs lm-eval or torch is imported where it is used.
"""
