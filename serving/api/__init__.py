"""The REST API: what may be asked, how it is answered, and what is said where a question is wrong.

One module per kind of question; `parameters` has what they share in asking, `answers` in answering.
"""
