"""Where cards come from: Scryfall, folders of this machine, omma's own drawings."""
