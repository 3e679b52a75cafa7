"""Configuration: one immutable `Config`, two loaders, problems with file, line and key."""
