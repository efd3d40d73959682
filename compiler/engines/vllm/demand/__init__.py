"""From bytes to demands: each way to run a request on a site."""
