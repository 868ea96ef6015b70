"""A trained model at work: folders that hold one, plans of what to buy, completed scenes."""
