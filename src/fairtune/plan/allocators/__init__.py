"""What a runtime holds for the blocks that a program asks for: one file an allocator, one protocol. All are light."""
