"""Features of a frozen trunk: computed once, kept on disk, handed to heads in batches."""
