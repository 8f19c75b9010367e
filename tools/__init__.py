"""Tools of the repository itself: they are not part of the package."""
