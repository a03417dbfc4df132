"""Procedural street scenes with exact class, instance and depth maps, and the metadata that follows from them."""
