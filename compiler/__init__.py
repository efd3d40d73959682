"""modelc compiles a fleet of LLM inference services: four text files in, one plan out."""

__version__ = "0.1.0"
