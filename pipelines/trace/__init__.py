"""Why a scene is in a data set, or which stage let it go: what `gl10m trace` tells."""
