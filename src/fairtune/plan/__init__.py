"""What fits, and how long it takes: the real code on tensors without numbers. Importing this room is light."""
