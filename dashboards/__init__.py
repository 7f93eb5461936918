"""The windows of the house, and the composition of the whole app: the only room that imports the others."""
