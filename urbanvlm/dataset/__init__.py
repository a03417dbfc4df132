"""Metadata becomes questions; rows become examples."""
