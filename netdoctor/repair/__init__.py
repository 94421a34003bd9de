"""From findings to repairs: the proof on the model, what each costs, the script."""
