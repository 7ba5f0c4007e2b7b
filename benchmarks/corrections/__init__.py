"""Corrections of what is wrong beside regions and whole images, by minutes and by pixels."""
