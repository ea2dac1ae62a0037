"""The cellar: sound files by their sha256, fetched once, verified, kept within a quota."""
