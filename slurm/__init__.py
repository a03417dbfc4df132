"""The launch layer: an experiment and a cluster profile become jobs. Runs on a login node, never imports torch."""
