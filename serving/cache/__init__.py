"""The cache of the API's answers: what one is kept under, where it is kept, and when it may be."""
