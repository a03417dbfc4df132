"""What every process of a job needs below its work: the process group, determinism, telemetry."""
