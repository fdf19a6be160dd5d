"""The numbers worked out a second time, plainly.

A sequential account of what sessions, visits, buckets and all that is told of them are, one person and one
instant after the other, in integer microseconds. It shares no code and no query with the package: where the two
disagree, one of them is wrong. Nothing here is fast, reads files or knows a database.
"""
