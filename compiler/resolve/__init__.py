"""From a model source to its facts: the only part of modelc that reads model files and the hub."""
