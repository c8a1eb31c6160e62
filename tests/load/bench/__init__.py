"""`make bench`: what the gateway costs, beside nginx and LiteLLM, measured in one run.

A paced upstream stamps each token with its sending time, a load client compares that with the time of its
arrival. Both are kept apart, on cores of their own, from what is measured.
"""
