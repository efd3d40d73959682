"""The commands of `modelc`, one file each: they call the pipeline and print what views make."""
