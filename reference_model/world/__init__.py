"""A world drawn by rule, in which an ordering of methods can be measured without a download.

What a class means, what each scale shows and how hard the rest is are knobs; see docs/world.md for what it
can and cannot show.
"""
