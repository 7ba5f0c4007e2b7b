"""How unsure a model is: of pixels, of images, and whether it is right about that.

Arrays in, arrays and numbers out; no files and no network. Higher = more uncertain, everywhere.
"""
