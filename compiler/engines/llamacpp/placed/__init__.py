"""What lies where: layers, weights and caches on each device."""
