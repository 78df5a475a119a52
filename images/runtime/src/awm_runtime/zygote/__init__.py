"""Forks processes out of a clean one that has everything imported: they start at once and share most of their memory.

A zygote is executed afresh, has one thread, and is told on a socket what to fork. What it forked is left to its owner
at once (`families.adopt`): a zygote that is killed takes nothing along, an owner that is killed takes everything.
"""
