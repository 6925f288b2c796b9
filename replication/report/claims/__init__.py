"""The statements of the paper and what the evidence says of each."""
