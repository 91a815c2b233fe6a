"""Finding wrong labels: margins over training, samples planted to be found, and what is decided from them."""
