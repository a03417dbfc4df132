"""The core of the toolkit: what happens inside a job, and the light types that the launch layer shares."""

__version__ = "0.1.0"
