"""The viewer: scenes in the page, LR beside the HR tiles that a budget buys."""
