"""The service: one process that answers over HTTP, with one backbone and every task of a registry."""
