"""A real Slurm of several nodes on one machine, to try things before they burn an allocation: `python -m slurm.dev`."""
