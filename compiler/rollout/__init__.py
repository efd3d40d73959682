"""How a plan is carried out: in which order hosts change, and what stops and starts on each."""
