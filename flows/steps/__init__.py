"""The steps of one tick, a file each: take in, reproduce, publish, collect, merge.

Every step is idempotent: it looks at the evidence, does what is missing, and may be killed at any
point and run again.
"""
