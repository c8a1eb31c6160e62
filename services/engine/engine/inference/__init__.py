"""Loaded models and what runs on them: llama.cpp in a child process for each model.

The child imports this package too, so nothing is imported here.
"""
