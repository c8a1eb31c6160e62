"""`make bench`: what the gateway costs, compared with nginx and LiteLLM in one run.

A paced upstream stamps each token with its sending time, and a load client compares that with its arrival.
Both run on other cores than what is measured.
"""
