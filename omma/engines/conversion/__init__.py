"""Published models made into files that engines run; done once, in a process of its own."""
