"""The network: a torchvision trunk cut before its classifier, a head per attribute, and their masked loss."""
