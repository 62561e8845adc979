"""Visual recognition of faces, people, images, classes and cards; no serving framework in it."""
