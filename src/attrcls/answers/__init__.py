"""From probabilities to answers: calibrated, decoded, shared out by a quota, or left blank. Pure arithmetic on arrays."""
