"""What an allocator really holds for the blocks that a program asks for: one file an allocator."""
